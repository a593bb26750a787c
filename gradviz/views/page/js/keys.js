// The keyboard, the help that lists it, and the theme.

const THEMES = ["auto", "light", "dark"];
const help = byId("help");

const KEYS = [
  ["← →", "one step back or on; with Shift ten", null],
  ["Home End", "the first or the last step", null],
  ["Space", "play or pause", null],
  ["c", "compare with this step, or stop comparing", null],
  ["/", "search for a node", null],
  ["n p", "the next or previous card", null],
  ["Enter", "on a card: its details; on a closed scope: open it", null],
  ["+ − 0", "zoom in, out, show everything", null],
  ["d", "light, dark or as the system", null],
  ["Esc", "close what is open", null],
  ["?", "this help", null],
];

const NOTES = [
  "Drag the picture to move it; the wheel or two fingers zoom. A click on a curve moves to that step.",
  "Blue is a negative gradient, orange a positive one; the stronger the colour and the wider the line, the larger it is beside the largest of the step. A dotted line carries no gradient. “– no grad” is not 0: nothing has reached the node.",
  "Numbers are kept to seven digits, those of large arrays and of edges to four.",
];

function startKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
    const action = actionOf(event);
    if (!action) return;
    event.preventDefault();
    action();
  });
  buildHelp();
  byId("open-help").addEventListener("click", () => help.showModal());
  byId("theme").addEventListener("click", nextTheme);
  showTheme();
}

// What a key does here: a field, a slider and a button keep those that are their own.
function actionOf(event) {
  const tag = event.target.tagName;
  if (tag === "INPUT" && event.target.type !== "range") return event.key === "Escape" ? () => event.target.blur() : null;
  if (tag === "SELECT") return null;
  if (event.key === " " && ["BUTTON", "SUMMARY"].includes(tag)) return null;
  const far = event.shiftKey ? 10 : 1;
  const actions = {
    ArrowLeft: () => move(-far),
    ArrowRight: () => move(far),
    Home: () => change({ place: 0, playing: false }),
    End: () => change({ place: data.steps.length - 1, playing: false }),
    " ": togglePlay,
    "/": openSearch,
    "?": () => help.showModal(),
    c: toggleCompare,
    n: () => nextCard(1),
    p: () => nextCard(-1),
    d: nextTheme,
    "+": () => camera.zoom(1.3),
    "=": () => camera.zoom(1.3),
    "-": () => camera.zoom(1 / 1.3),
    0: () => camera.fit(),
    Escape: () => change(state.node >= 0 ? { node: -1 } : { reference: -1, playing: false }),
  };
  return actions[event.key] || null;
}

function nextCard(by) {
  if (!picture) return;
  const count = picture.cards.length;
  const held = picture.cards[focused]?.group === document.activeElement;
  focusCard(held ? (focused + by + count) % count : focused, true);
}

function buildHelp() {
  const rows = KEYS.map(([keys, what]) => make("tr", {}, make("th", { scope: "row" }, ...keys.split(" ").map((key) => make("kbd", {}, key))), make("td", {}, what)));
  help.append(
    make("header", {}, make("h2", { id: "help-title" }, "How to read this page"), button("×", "Close", () => help.close(), { class: "close" })),
    make("table", {}, make("tbody", {}, ...rows)), ...NOTES.map((note) => make("p", {}, note)));
  help.addEventListener("click", (event) => { if (event.target === help) help.close(); });
}

function nextTheme() {
  const root = document.documentElement;
  root.dataset.theme = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
  showTheme();
}

function showTheme() {
  const { theme } = document.documentElement.dataset;
  const sign = { light: "☀", dark: "☾" }[theme] || "◐";
  const text = { light: "light", dark: "dark" }[theme] || "auto";
  byId("theme").replaceChildren(make("span", { "aria-hidden": "true" }, sign), " ", make("span", { class: "wide" }, text));
  byId("theme").setAttribute("aria-label", `Theme: ${text}`);
}
