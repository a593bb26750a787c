"use strict";
// A click on a stack of cards shows the picture in which that fold is open; the trail above leads back.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const main = document.querySelector("main");
  const parts = all("figure, .table", main);
  const keys = all("figure[data-open]").map((figure) => figure.dataset.open);
  const trail = document.createElement("nav");
  trail.setAttribute("aria-label", "Open folds");
  trail.className = "trail";
  let shown = "";
  let came = null;

  const around = (key) => keys.filter((other) => other === key || key.startsWith(`${other} / `)).sort((a, b) => a.length - b.length);

  function step(text, key) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    if (key === shown) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => show(key));
    return button;
  }

  function show(key) {
    const close = document.querySelector("#details:not([hidden]) button");
    if (close) close.click();
    shown = key;
    for (const part of parts) part.hidden = (part.dataset.open || "") !== key;
    const steps = [["Whole picture", ""]];
    let before = "";
    for (const outer of around(key)) {
      steps.push([outer.slice(before && before.length + 3), outer]);
      before = outer;
    }
    trail.replaceChildren(...steps.map(([text, to]) => step(text, to)));
    if (key) trail.append(Object.assign(step("× close", steps.at(-2)[1]), { className: "close" }));
    trail.hidden = !key;
    if (key) trail.lastChild.focus();
    else if (came && came.isConnected) came.focus();
  }

  for (const card of all(".gv-node[data-fold]", main)) {
    const key = card.dataset.fold;
    if (!keys.includes(key)) continue;
    card.classList.add("opens");
    card.setAttribute("aria-expanded", "false");
    const open = (event) => {
      if (event.type === "keydown" && event.key !== "Enter") return;
      event.stopImmediatePropagation();
      event.preventDefault();
      if (!shown) came = card;
      show(key);
    };
    card.addEventListener("click", open, true);
    card.addEventListener("keydown", open, true);
  }

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !shown || document.querySelector("#details:not([hidden])")) return;
    event.stopImmediatePropagation();
    show(around(shown).at(-2) || "");
  }, true);

  main.prepend(trail);
  const help = document.querySelector(".help");
  if (help) help.textContent = "click a stack of cards to see its rounds, Esc goes back · space or its row in the table shows its details · " + help.textContent;
  show("");
})();
