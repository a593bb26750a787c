// The picture: one view of the graph as SVG, and the numbers of the step in the cards that can be seen.

const BODY = 11;
const SMALL = 8.5;
const PAD = 7.5;
const BASELINE = 0.36;
const STRIP_CELLS = 16;
const FAR = 0.42; // smaller than this nobody reads a number
const VERY_FAR = 0.16; // and no name
const READABLE = 0.85; // for what one has been sent to
const PRINTED = { "*": "×", "-": "−", "/": "÷" };
const WIDE = 0.57; // of a character, in parts of the text size

const stage = byId("stage");
let picture = null;

class Picture {
  constructor(view) {
    this.view = view;
    this.world = draw("g", {});
    this.root = draw("svg", { class: "picture" }, this.world);
    this.scopes = view.scopes.map((given) => this.scope(given));
    this.edges = view.edges.map((edge) => this.edge(edge));
    this.cards = view.nodes.map((node, place) => new Card(node, place));
    const layers = [this.scopes, this.edges.map((edge) => edge.group), this.cards.map((card) => card.group)];
    this.world.append(...layers.map((elements) => draw("g", {}, ...elements)));
    this.stamp = 0;
  }

  scope({ scope: path, box: [x, y, width, height] }) {
    const close = () => openScope(path.slice(0, -1));
    const name = shortened(path[path.length - 1], 60);
    const label = draw("g", { class: "scope-label", role: "button", tabindex: -1, "aria-label": `Close ${name}` },
      draw("rect", { x: x + 5, y: y + 4, width: 22 + name.length * 6, height: 16, rx: 3 }),
      draw("text", { x: x + 10, y: y + 16 }, `▾ ${name}`));
    pressable(label, close);
    return draw("g", { class: "scope" }, draw("rect", { x, y, width, height, rx: 7 }), label);
  }

  edge(given) {
    const line = draw("path", { d: given.line });
    const arrow = draw("polygon", { points: given.arrow });
    const group = draw("g", { class: "edge" }, line, arrow);
    return { given, group, box: boxAround(`${given.line} ${given.arrow}`) };
  }

  // Show the step in what can be seen of the picture; the rest follows when it comes into sight.
  update() {
    this.stamp += 1;
    this.updateSeen();
  }

  updateSeen() {
    const far = camera.scale < FAR;
    this.root.classList.toggle("far", far);
    this.root.classList.toggle("very-far", camera.scale < VERY_FAR);
    const seen = seenBox();
    for (const card of this.cards) {
      const isSeen = overlap(card.given.box, seen);
      showOrHide(card, isSeen);
      if (isSeen && (card.stamp !== this.stamp || card.detail < (far ? 1 : 2))) card.update(this.stamp, far);
    }
    this.updateEdges(seen);
  }

  updateEdges(seen) {
    const step = localStep();
    const then = comparing() ? localStep(state.reference) : undefined;
    const largest = scene().largest(step);
    for (const edge of this.edges) {
      const isSeen = overlap(edge.box, seen);
      showOrHide(edge, isSeen);
      if (!isSeen || edge.stamp === this.stamp) continue;
      edge.stamp = this.stamp;
      setClass(edge.group, edgeClass(edge.given, step, then, largest));
    }
  }
}

const overlap = ([x, y, width, height], [left, top, right, bottom]) => x < right && x + width > left && y < bottom && y + height > top;

// What cannot be seen is not painted: moving over a large graph stays smooth.
function showOrHide(thing, isSeen) {
  if (thing.isSeen === isSeen) return;
  thing.isSeen = isSeen;
  if (isSeen) thing.group.removeAttribute("display");
  else thing.group.setAttribute("display", "none");
}

function boxAround(text) {
  const numbers = (text.match(/-?\d+(?:\.\d+)?/g) || ["0", "0"]).map(Number);
  const [across, down] = [0, 1].map((axis) => numbers.filter((_, i) => i % 2 === axis));
  const [left, top] = [Math.min(...across), Math.min(...down)];
  return [left, top, Math.max(...across) - left + 1, Math.max(...down) - top + 1];
}

function edgeClass(given, step, then, largest) {
  if (given.ends[2] < 0) return "edge carried";
  if (!given.size) return "edge s-0";
  const size = scene().edgeSize(given.size, step);
  if (then !== undefined) {
    const before = scene().edgeSize(given.size, then);
    return `edge s-${levelName(levelOf(size - before, Math.max(Math.abs(size), Math.abs(before))))}`;
  }
  if (size === Infinity || size === -Infinity) return "edge s-bad";
  return Number.isNaN(size) ? "edge s-none" : `edge s-${levelName(levelOf(size, largest))}`;
}

class Card {
  constructor(given, place) {
    this.given = given;
    this.place = place;
    this.stamp = 0;
    this.detail = 0;
    const [x, y, width, height] = given.box;
    this.size = [width, height];
    this.outline = draw("rect", { class: "outline", width, height, rx: 5 });
    this.group = draw("g", { class: `card role-${given.role}`, transform: `translate(${x} ${y})`, role: "button", tabindex: -1, "data-card": place, "aria-label": given.title || given.note || given.role },
      draw("title", {}, ""), this.outline, ...this.header(), ...this.lines());
    if (given.node !== null) this.group.setAttribute("data-node", given.node);
    pressable(this.group, (event) => pickCard(this, event.target), () => openCard(this));
  }

  get hasHeader() {
    return Boolean(this.given.title || this.given.note || this.given.sign);
  }

  // -- what never changes

  header() {
    const { title, sign, note, opens, rows } = this.given;
    const [width, height] = this.size;
    const words = title || sign;
    const fromAfar = draw("text", { class: "from-afar", x: width / 2, y: height / 2, "font-size": Math.min(26, (width * 1.5) / Math.max(4, words.length)).toFixed(1) }, words);
    if (!this.hasHeader) return [fromAfar];
    const y = 3.5 + this.lineHeight() / 2 + 12 * BASELINE - 1;
    const name = draw("text", { class: "name", x: PAD + (opens ? 13 : 0), y }, title);
    if (sign) name.append(draw("tspan", { class: "sign" }, (title ? "\u2002" : "") + (PRINTED[sign] || sign)));
    const found = [fromAfar, name];
    if (opens) found.push(draw("rect", { class: "opener", x: 2, y: 2, width: 19, height: this.lineHeight() + 2, rx: 3 }), draw("text", { class: "opener name", x: PAD, y }, "▸"));
    if (note) found.push(draw("text", { class: "note", x: width - PAD, y }, note));
    if (rows.length) {
      const at = 3.5 + this.lineHeight() - 0.5;
      found.push(draw("line", { class: "rule", x1: 0, x2: width, y1: at, y2: at }));
    }
    return found;
  }

  lineHeight() {
    return (this.size[1] - 7) / Math.max(1, this.given.rows.length + (this.hasHeader ? 1 : 0));
  }

  lines() {
    const height = this.lineHeight();
    this.rows = this.given.rows.map(([kind, line], place) => {
      const top = 3.5 + (place + (this.hasHeader ? 1 : 0)) * height;
      return kind.endsWith(" strip") ? this.strip(kind.split(" ")[0], top, height) : this.number(kind, line, top, height);
    });
    return this.rows.flatMap((row) => row.elements);
  }

  number(kind, line, top, height) {
    const [width] = this.size;
    const middle = top + height / 2;
    const chip = draw("rect", { class: "f-0", x: PAD - 3.5, y: top + 1, width: width - 2 * PAD + 7, height: height - 1.4, rx: 3 });
    const text = draw("text", { class: "number", x: width - PAD, y: middle + BODY * BASELINE });
    const alone = !this.hasHeader && this.given.rows.length === 1;
    const key = alone || line > 0 ? "" : draw("text", { class: "key", x: PAD, y: middle + SMALL * BASELINE }, kind);
    const room = (width - 2 * PAD - (key ? kind.length * SMALL * WIDE + 9 : 0)) / (BODY * WIDE);
    return { kind, line, chip, text, room: Math.max(4, Math.floor(room + 1.5)), elements: [chip, key, text].filter(Boolean) };
  }

  strip(kind, top, height) {
    const width = (this.size[0] - 2 * PAD) / STRIP_CELLS;
    const box = { y: top + height * 0.2, height: height * 0.6 };
    const cells = Array.from({ length: STRIP_CELLS }, (_, i) => draw("rect", { class: "f-0", x: PAD + i * width, width: width + 0.2, ...box }));
    return { kind, cells, elements: [...cells, draw("rect", { class: "frame", x: PAD, width: this.size[0] - 2 * PAD, ...box })] };
  }

  // -- what the step changes

  update(stamp, far) {
    this.stamp = stamp;
    this.detail = far ? 1 : 2;
    this.tint();
    if (far) return;
    const told = [this.given.title || this.given.sign || this.given.role];
    for (const row of this.rows) {
      if (row.cells) this.updateStrip(row);
      else told.push(this.updateNumber(row));
    }
    if (this.given.opens) told.push(`${formatCount(this.given.count)} nodes`, "closed");
    this.group.setAttribute("aria-label", told.filter(Boolean).join(", "));
  }

  // The outline says which card is chosen and where there is a NaN; seen from afar the whole card has the colour.
  tint() {
    const { role, track } = this.given;
    const bad = track !== null && ["value", "grad"].some((kind) => isBad(scene().number(track, kind, localStep())));
    const level = track === null ? 0 : colourLevel(track, "grad");
    setClass(this.group, `card role-${role} c-${levelName(level)}${bad ? " bad" : ""}${this.isPicked() ? " picked" : ""}`);
  }

  isPicked() {
    return state.node >= 0 && viewShown().places[state.node] === this.place;
  }

  updateNumber(row) {
    const number = this.given.track === null ? { form: "none" } : shownNumber(this.given.track, row.kind);
    const [text, look] = rowText(number, row, this.given);
    const level = this.given.track === null || look ? 0 : colourLevel(this.given.track, row.kind);
    setText(row.text, text);
    setClass(row.text, `number${look ? ` ${look}` : ""}`);
    setClass(row.chip, `f-${levelName(level)}`);
    return `${comparing() ? "change of " : ""}${row.kind} ${text}`;
  }

  updateStrip(row) {
    const levels = this.given.track === null ? [] : stripLevels(shownNumber(this.given.track, row.kind));
    row.cells.forEach((cell, i) => {
      const level = levels.length ? levels[Math.floor((i * levels.length) / STRIP_CELLS)] : 0;
      setClass(cell, level === null ? "f-bad" : `f-${levelName(level)}`);
    });
  }
}

// The text of one row of a card and how it looks: "", "bad" or "none".
function rowText(number, row, given) {
  if (number.form === "none") return [missingText(row.kind, given), "none"];
  const write = comparing() ? formatChange : formatNumber;
  const bad = isBad(number);
  if (number.form === "scalar") return [(bad ? "! " : "") + fitted((digits) => write(number.x, digits), row.room), bad ? "bad" : ""];
  if (number.form === "full" && number.size <= 6) return [matrixLine(number, row, write, bad), bad ? "bad" : ""];
  if (bad) return [`! ${badText(number)}`, "bad"];
  return [fitted((digits) => rangeText(number, (x) => write(x, digits)), row.room), ""];
}

function matrixLine(number, row, write, bad) {
  const { shape } = number;
  const across = shape.length === 2 ? shape[1] : number.size;
  const elements = number.elements.slice(row.line * across, (row.line + 1) * across);
  const inner = shape.length === 2 ? [across] : shape;
  return (bad ? "! " : "") + fitted((digits) => formatArray(elements, inner, (x) => write(x, digits)), row.room);
}

function missingText(kind, given) {
  if (comparing()) return "–";
  if (kind === "grad" && !(given.role !== "param" && noteAt(state.place))) return "– no grad";
  return "not recorded";
}

const noteAt = (place) => data.notes[data.note[place]] || "";

function stripLevels(number) {
  const cells = number.form === "full" ? Array.from(number.elements) : number.cells || [];
  const count = Math.min(STRIP_CELLS, cells.length);
  const means = Array.from({ length: count }, (_, i) => meanOf(cells.slice(Math.floor((i * cells.length) / count), Math.floor(((i + 1) * cells.length) / count))));
  const top = Math.max(...means.filter((mean) => mean !== null).map(Math.abs), 0);
  return means.map((mean) => (mean === null ? null : top ? Math.round((4 * mean) / top) : 0));
}

function meanOf(cells) {
  if (cells.some((cell) => cell === null || !Number.isFinite(cell))) return null;
  return cells.reduce((sum, cell) => sum + cell, 0) / cells.length;
}

// A click, Enter or the space bar; `twice` is for a double click.
function pressable(element, action, twice = null) {
  element.addEventListener("click", (event) => {
    event.stopPropagation();
    if (!camera.dragged) action(event);
  });
  if (twice) element.addEventListener("dblclick", twice);
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    if (twice && event.key === "Enter" && element.classList.contains("picked")) twice();
    else action(event);
  });
}

function pickCard(card, target) {
  const { node, opens, track } = card.given;
  focusCard(card.place);
  if (opens && (track === null || target.classList.contains("opener"))) openScope(opens);
  else change({ node: node ?? (track !== null && track < scene().nodes.length ? track : firstMember(card.place)) });
}

const firstMember = (place) => viewShown().places.indexOf(place);

function openCard(card) {
  if (card.given.opens) openScope(card.given.opens);
}

// -- choosing what is drawn

const sameScope = (one, other) => one.length === other.length && one.every((part, i) => part === other[i]);

// Show the view in which a scope is open, with what is around it.
function openScope(path) {
  const { views } = scene();
  const wanted = (view) => !view.part && (path.length ? view.opened.length && sameScope(view.opened[view.opened.length - 1], path) : !view.opened.length);
  const fitting = views.map((view, place) => [view, place]).filter(([view]) => wanted(view));
  const all = views.findIndex((view) => view.opened.some((open) => sameScope(open, path)));
  const best = fitting.find(([view]) => view.folded === viewShown().folded) || fitting[0];
  if (best) change({ view: best[1] });
  else if (all >= 0) change({ view: all });
}

// Show a node: in the view that is there if it is a card of its own in it, else in one where it is.
function reveal(node) {
  const { views } = scene();
  const isAlone = (view) => view.places[node] !== null && view.nodes[view.places[node]].node === node;
  const isThere = (view) => view.places[node] !== null;
  const shown = viewShown();
  if (!isAlone(shown)) {
    const better = views.findIndex(isAlone);
    if (better >= 0) change({ view: better, node });
    else if (!isThere(shown)) change({ view: Math.max(0, views.findIndex(isThere)), node });
  }
  change({ node });
  const place = viewShown().places[node];
  if (place !== null) camera.show(viewShown().nodes[place].box, READABLE);
}

// -- keeping the picture as the state is

let focused = -1;

function focusCard(place, force = false) {
  picture.cards[focused]?.group.setAttribute("tabindex", -1);
  focused = place;
  const card = picture.cards[place];
  card?.group.setAttribute("tabindex", 0);
  if (card && force) {
    camera.show(card.given.box);
    card.group.removeAttribute("display");
    card.group.focus({ preventScroll: true });
  }
}

function renderPicture(changed) {
  const note = noteText();
  byId("note").hidden = !note;
  setText(byId("note"), note);
  if (changed.has("view") || !picture) replacePicture();
  if (picture && ["place", "reference", "view", "node", "scene"].some((name) => changed.has(name))) picture.update();
}

function replacePicture() {
  const view = viewShown();
  stage.replaceChildren();
  picture = view ? new Picture(view) : null;
  if (!picture) return;
  stage.append(picture.root);
  const chosen = state.node >= 0 ? view.places[state.node] : null;
  focusCard(chosen ?? 0);
  camera.fit();
  if (chosen !== null && camera.scale < FAR) camera.show(view.nodes[chosen].box, 0.9);
}

// The whole graph and what is near its result, where all of it is too much to be read.
function otherPart() {
  const { part } = viewShown();
  return scene().views.findIndex((view) => view.part !== part);
}

function noteText() {
  if (!scene()) return `Step ${data.steps[state.place]} has a structure of its own, one of ${formatCount(data.structures)}, that is too rare to be drawn. Loss and parameters are below.`;
  const said = noteAt(state.place);
  if (state.reference >= 0 && !comparing()) return "The two steps have different structures: they cannot be compared node by node.";
  return said ? `Only what was recorded is shown of this step: ${said}.` : "";
}

listeners.push(renderPicture);
