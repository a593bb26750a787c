// Making elements. Only textContent and attributes put data into the page: nothing is read as HTML.

const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

const make = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

function button(text, label, action, attributes = {}) {
  const element = make("button", { type: "button", "aria-label": label, title: label, ...attributes }, text);
  element.addEventListener("click", action);
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setClass(element, name) {
  if (element.getAttribute("class") !== name) element.setAttribute("class", name);
}

const shortened = (text, most = 40) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
