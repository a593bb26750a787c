// One node: its numbers now and through time, how it is computed, and the line that made it.

const AROUND = 4; // lines before and after
const details = byId("details");
let detailCharts = [];

function renderDetails(changed) {
  if (!["node", "place", "reference", "scene"].some((name) => changed.has(name))) return;
  const node = scene()?.nodes[state.node];
  const shown = Boolean(node);
  details.hidden = !shown;
  byId("app").classList.toggle("with-details", shown);
  if (!shown) {
    details.shown = -1;
    detailCharts = [];
    return;
  }
  const isNew = changed.has("node") || changed.has("scene") || details.shown !== state.node;
  if (isNew) buildDetails(node, state.node);
  updateDetails(state.node);
}

function buildDetails(node, id) {
  const parts = { numbers: make("div", {}), pictures: make("div", { class: "pictures" }), flows: make("div", {}) };
  Object.assign(details, { parts, shown: id });
  const kinds = node.kind === "const" ? ["value"] : ["value", "grad"];
  detailCharts = kinds.map((kind, place) => historyChart(id, kind, place)).filter((chart) => chart.shownValues().length);
  details.replaceChildren(
    make("header", {}, make("h2", {}, node.title), button("×", "Close", () => change({ node: -1 }), { class: "close" })),
    facts(node, id), parts.numbers, ...detailCharts.map((chart) => chart.element), parts.pictures, parts.flows, ...sourceOf(node));
  details.scrollTop = 0;
}

function facts(node, id) {
  const place = viewShown()?.places[id];
  const card = place === null || place === undefined ? null : viewShown().nodes[place];
  const rows = [[node.kind === "op" ? "computed as" : "kind", node.text, "mono"], ["type", node.type], ["scope", node.scope.join(" / ")]];
  const list = make("dl", {}, ...rows.filter(([, text]) => text).flatMap(([key, text, look]) => [make("dt", {}, key), make("dd", { class: look }, text)]));
  if (card?.opens) list.append(make("dt", {}, "inside"), make("dd", {}, linkButton(`open ${card.title}`, () => openScope(card.opens))));
  else if (card && card.count > 1) list.append(make("dt", {}, "round"), make("dd", {}, roundStepper(id, place, card)));
  return list;
}

// A folded card stands for many nodes made by the same line: go through them.
function roundStepper(id, place, card) {
  const members = viewShown().places.flatMap((other, node) => (other === place ? [node] : []));
  const at = members.indexOf(id);
  const to = (by) => () => change({ node: members[(at + by + members.length) % members.length] });
  return make("span", { class: "rounds" }, button("‹", "Round before", to(-1)), `${formatCount(at + 1)} of ${formatCount(card.count)}`, button("›", "Next round", to(1)));
}

const linkButton = (text, action) => {
  const element = make("button", { type: "button", class: "link" }, text);
  element.addEventListener("click", action);
  return element;
};

// -- numbers

function updateDetails(id) {
  const { numbers, pictures, flows } = details.parts;
  numbers.replaceChildren(numberTable(id));
  const fold = foldOf(id);
  const whose = fold === null ? [] : ["value", "grad"].flatMap((kind) => arrayPictures(fold, kind, "all rounds: "));
  pictures.replaceChildren(...["value", "grad"].flatMap((kind) => arrayPictures(id, kind)), ...whose);
  flows.replaceChildren(flowList(id));
  detailCharts.forEach((chart) => chart.cursor());
}

function numberTable(id) {
  const kinds = scene().nodes[id].kind === "const" ? ["value"] : ["value", "grad"];
  const rows = kinds.flatMap((kind) => numberRows(id, kind));
  return make("dl", { class: "numbers" }, ...rows.flatMap(([key, text, look]) => [make("dt", {}, key), make("dd", { class: look }, text)]));
}

function numberRows(id, kind) {
  const now = scene().number(id, kind, localStep());
  const word = kind === "grad" ? "gradient" : kind;
  const rows = [[word, ...wholeText(now, kind, id)]];
  if (comparing()) {
    const then = scene().number(id, kind, localStep(state.reference));
    rows.push([`at step ${data.steps[state.reference]}`, ...wholeText(then, kind, id)], ["change", ...changeText(differenceOf(now, then))]);
  }
  if (now.form !== "none" && now.form !== "scalar" && now.size > 1) rows.push(["", measures(now), "quiet"]);
  return rows;
}

function wholeText(number, kind, id) {
  if (number.form === "none") return [kind === "grad" ? missingGradient(id) : "not recorded", "none"];
  const look = isBad(number) ? "bad" : "mono";
  if (number.form === "scalar") return [formatNumber(number.x, 7), look];
  if (number.form === "full" && number.size <= 16) return [formatArray(number.elements, number.shape, (x) => formatNumber(x)), look];
  return [[rangeText(number, (x) => formatNumber(x)), badText(number)].filter(Boolean).join(", "), look];
}

const missingGradient = (id) => (noteAt(state.place) && scene().nodes[id].kind === "op" ? "not recorded" : "none: nothing has reached it");

function changeText(number) {
  if (number.form === "none") return ["–", "none"];
  if (number.form === "scalar") return [formatChange(number.x, 7), "mono"];
  if (number.form === "full" && number.size <= 16) return [formatArray(number.elements, number.shape, (x) => formatChange(x)), "mono"];
  return [number.form === "sum" ? `mean ${formatChange(number.mean)}, norm ${formatChange(number.norm)}` : rangeText(number, (x) => formatChange(x)), "mono"];
}

function measures(number) {
  const norm = number.form === "full" ? Math.hypot(...number.elements) : number.norm;
  const zeros = number.form === "full" ? number.elements.filter((x) => x === 0).length : number.zeros;
  const found = [`mean ${formatNumber(extentOf(number).mean)}`, `norm ${formatNumber(norm)}`];
  if (zeros) found.push(`${formatCount(zeros)} of ${formatCount(number.size)} are 0`);
  return found.join(", ");
}

// -- through time

function historyChart(id, kind, place) {
  const { form } = scene().tracks[id];
  const values = scene().places.map((_, step) => historyOf(scene().number(id, kind, step)));
  const word = kind === "grad" ? "Gradient" : "Value";
  return new Chart({
    title: form === "scalar" ? word : `${word} (norm)`,
    steps: scene().places.map((step) => data.steps[step]),
    series: [{ title: word, values, colour: place, on: true, dashed: true }],
    log: false,
    describe: () => (localStep() === undefined ? "" : formatNumber(values[localStep()], 5)),
  });
}

function historyOf(number) {
  if (number.form === "none") return NaN;
  if (number.form === "scalar") return number.x;
  return number.form === "full" ? Math.hypot(...number.elements) : number.norm;
}

// -- arrays as pictures

// The track of all rounds of the folded card that a node is in.
function foldOf(id) {
  const card = viewShown()?.nodes[viewShown().places[id]];
  return card && card.track !== null && card.track >= scene().nodes.length ? card.track : null;
}

function arrayPictures(id, kind, prefix = "") {
  const number = shownNumber(id, kind);
  const word = `${prefix}${comparing() ? "change of " : ""}${kind === "grad" ? "gradient" : "value"}`;
  const found = [];
  const grid = gridOf(number);
  if (grid) found.push(make("figure", { class: "heat" }, make("figcaption", {}, `${word}${grid.exact ? "" : `, ${grid.rows}×${grid.columns} means`}`), heatMap(grid, word)));
  const sizes = comparing() ? null : scene().exponents(id, kind, localStep());
  if (sizes && sizes.shares.some(Boolean)) found.push(make("figure", {}, make("figcaption", {}, `size of the ${word}, by power of 2`), histogram(sizes, word)));
  return found;
}

function gridOf(number) {
  if (number.form === "full" && number.size > 1) {
    const columns = number.shape[number.shape.length - 1];
    const wide = number.shape.length > 1 ? columns : number.size;
    return { rows: number.size / wide, columns: wide, cells: Array.from(number.elements, (x) => (Number.isFinite(x) ? x : null)), exact: true };
  }
  if (number.form !== "sum" || !number.cells) return null;
  const { rows, columns, cells } = number;
  return { rows, columns, cells, exact: rows * columns === number.size };
}

function heatMap({ rows, columns, cells }, word) {
  const top = cells.reduce((most, cell) => Math.max(most, Math.abs(cell || 0)), 0);
  const tall = rows === 1 ? columns / 10 : rows;
  const root = draw("svg", { viewBox: `0 0 ${columns} ${tall}`, class: rows === 1 ? "heatmap flat" : "heatmap", preserveAspectRatio: "none", role: "img", "aria-label": `Heat map of the ${word}, from ${formatNumber(-top)} to ${formatNumber(top)}` });
  cells.forEach((cell, i) => {
    const look = cell === null ? { class: "f-bad" } : { class: cell < 0 ? "n" : "p", "fill-opacity": (top ? Math.abs(cell) / top : 0).toFixed(2) };
    const element = draw("rect", { ...look, x: i % columns, y: Math.floor(i / columns), width: 1.01, height: rows === 1 ? tall : 1.01 });
    element.append(draw("title", {}, `[${Math.floor(i / columns)}, ${i % columns}] ${cell === null ? "NaN or inf" : formatNumber(cell, 3)}`));
    root.append(element);
  });
  return root;
}

function histogram({ low, shares }, word) {
  const most = Math.max(...shares);
  const width = 240 / Math.max(8, shares.length);
  const root = draw("svg", { viewBox: "0 0 240 62", class: "histogram", role: "img", "aria-label": `Histogram of the ${word} from 2 to the ${low} to 2 to the ${low + shares.length}` });
  shares.forEach((share, i) => {
    const height = 44 * (share / most);
    root.append(draw("rect", { x: i * width, y: 46 - height, width: width * 0.9, height }, draw("title", {}, `2^${low + i}: ${formatNumber(100 * share, 3)} %`)));
  });
  root.append(draw("line", { x1: 0, x2: 240, y1: 46.5, y2: 46.5 }), draw("text", { x: 0, y: 59 }, `2^${low}`),
    draw("text", { x: shares.length * width, y: 59, "text-anchor": "end" }, `2^${low + shares.length - 1}`));
  return root;
}

// -- what it comes from and what it is used for

function flowList(id) {
  const { nodes, users } = scene();
  const rows = [
    ...nodes[id].inputs.map((src, arg) => ["from", src, edgeText(src, id, arg)]),
    ...users[id].map(([dst, arg]) => ["to", dst, edgeText(id, dst, arg)]),
  ];
  if (!rows.length) return make("span", {});
  const items = rows.slice(0, 60).map(([word, other, text]) => make("li", {}, make("span", { class: "quiet" }, `${word} `), linkButton(nodes[other].title, () => reveal(other)), text ? make("span", { class: "formula" }, text) : ""));
  const rest = rows.length > 60 ? [make("li", { class: "quiet" }, `and ${formatCount(rows.length - 60)} more`)] : [];
  return make("section", {}, make("h3", {}, "Inputs and users"), make("ul", { class: "flows" }, ...items, ...rest));
}

// The local derivative as a formula, and what this edge has added to the gradient of its source.
function edgeText(src, dst, arg) {
  const { nodes, edges, users } = scene();
  if (nodes[src].kind === "const") return "";
  const formula = nodes[dst].formulas[arg];
  const column = edges[`${src},${dst},${arg}`];
  const size = column === undefined ? (users[src].length === 1 ? ["grad", src] : null) : ["edge", column];
  const isScalar = scene().tracks[src].form === "scalar";
  const sent = isScalar && size ? scene().edgeSize(size, localStep()) : NaN;
  const parts = [formula ? `∂${nodes[dst].title}/∂${nodes[src].title} = ${formula}` : "", Number.isNaN(sent) ? "" : `gradient += ${formatNumber(sent)}`];
  return parts.filter(Boolean).join(", ");
}

// -- the line that made it, with the lines around it that were recorded too

function sourceOf(node) {
  const own = scene().sources[node.source];
  if (!own) return [];
  const near = new Map();
  for (const other of scene().sources) {
    if (other.file === own.file && other.function === own.function && !near.has(other.line)) near.set(other.line, other.code);
  }
  near.set(own.line, own.code);
  const lines = [...near.keys()].sort((one, other) => one - other);
  const at = lines.indexOf(own.line);
  const shown = lines.slice(Math.max(0, at - AROUND), at + AROUND + 1);
  const code = make("pre", { class: "source", tabindex: 0, role: "region", "aria-label": "Source" });
  shown.forEach((line, i) => {
    if (i && line > shown[i - 1] + 1) code.append(make("span", { class: "gap" }, "⋮\n"));
    code.append(make("span", { class: line === own.line ? "line here" : "line" }, make("span", { class: "count" }, String(line).padStart(4)), "  ", ...marked(near.get(line), line === own.line ? own.text : ""), "\n"));
  });
  return [make("h3", {}, `${own.file}:${own.line}${own.function ? ` in ${own.function}` : ""}`), code];
}

function marked(code, text) {
  const at = text ? code.indexOf(text) : -1;
  return at < 0 ? [code] : [code.slice(0, at), make("mark", {}, text), code.slice(at + text.length)];
}

listeners.push(renderDetails);
