"use strict";
// Only textContent puts data into the page: names and source lines are never read as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const main = document.querySelector("main");
  const slides = all("figure:not([data-open])");
  const cards = all("[data-node]", main);
  let picked = -1;
  let shown = slides.length - 1;

  function make(tag, text = "", attributes = {}) {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  function button(text, label, action) {
    const element = make("button", text, { type: "button", "aria-label": label });
    element.addEventListener("click", action);
    return element;
  }

  // -- picking a node

  const details = make("section", "", { id: "details", "aria-live": "polite", hidden: "" });
  const help = make("p", "", { class: "help" });

  function describe(node) {
    const list = make("dl");
    for (const [key, text, look] of node.rows) {
      list.append(make("dt", key), make("dd", text, look ? { class: look } : {}));
    }
    details.replaceChildren(button("×", "Close", () => pick(-1)), make("h2", node.title), list);
  }

  function pick(id, from = null) {
    picked = data.nodes[id] ? id : -1;
    const node = data.nodes[picked];
    const near = node ? new Set([...node.inputs, ...node.users]) : new Set();
    for (const card of cards) {
      const own = Number(card.dataset.node);
      card.classList.toggle("picked", own === picked);
      card.classList.toggle("near", near.has(own));
      if (card.hasAttribute("aria-pressed")) card.setAttribute("aria-pressed", String(own === picked));
    }
    details.hidden = !node;
    if (node) describe(node);
    const place = node ? `#n${picked}` : location.pathname + location.search;
    try { history.replaceState(null, "", place); } catch { /* a page without an address */ }
    if (node && from !== "picture") {
      const card = all(`.gv-node[data-node="${picked}"]`, main).find((one) => !one.closest("figure").hidden);
      if (card) card.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }

  for (const card of cards) {
    const inPicture = card.classList.contains("gv-node");
    const choose = () => pick(Number(card.dataset.node) === picked ? -1 : Number(card.dataset.node), inPicture && "picture");
    card.setAttribute("tabindex", "0");
    if (inPicture) {
      card.setAttribute("role", "button");
      card.setAttribute("aria-pressed", "false");
    }
    card.addEventListener("click", choose);
    card.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose();
    });
  }
  for (const picture of all("svg")) picture.setAttribute("role", "group"); // an img hides what is in it

  // -- steps

  const nav = make("nav", "", { "aria-label": "Steps" });
  const bar = make("input", "", { type: "range", min: 0, max: slides.length - 1, "aria-label": "Step" });

  function show(step) {
    shown = Math.max(0, Math.min(slides.length - 1, step));
    slides.forEach((slide, number) => { slide.hidden = number !== shown; });
    bar.value = shown;
    bar.setAttribute("aria-valuetext", slides[shown].getAttribute("aria-label") || "");
  }

  if (slides.length > 1) {
    bar.addEventListener("input", () => show(Number(bar.value)));
    nav.append(button("‹", "Back", () => show(shown - 1)), bar, button("›", "Forward", () => show(shown + 1)));
    main.prepend(nav);
    show(0);
  }

  // -- keys

  function along(key) {
    const node = data.nodes[picked];
    const last = data.nodes.length - 1;
    const to = { ArrowUp: picked - 1, ArrowDown: picked + 1, ArrowLeft: node.inputs[0], ArrowRight: node.users[0] }[key];
    const row = to >= 0 && to <= last && all(`tr[data-node="${to}"]`)[0];
    if (row && !row.closest(".table").hidden) pick(to);
  }

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target === bar) return;
    const sideways = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") pick(-1);
    else if (slides.length > 1 && sideways) show(shown + sideways);
    else if (picked >= 0 && event.key.startsWith("Arrow")) along(event.key);
    else return;
    event.preventDefault();
  });

  help.textContent = (slides.length > 1 ? "← → steps · " : "← → along the graph · ") + "click a value for its details · Esc closes them";
  all("figure").at(-1).after(details, help);
  const wanted = /^#n(\d+)$/.exec(location.hash);
  if (wanted) pick(Number(wanted[1]));
})();
