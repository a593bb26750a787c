// At the side: what the health rules have found, what has happened, and what the run is.

const SIGNS = { error: "✕", warning: "!", note: "i" };

function startPanels() {
  byId("side").append(findingPanel(), ...eventPanel(), ...aboutPanel());
}

function findingPanel() {
  const heading = make("h2", {}, "Findings ", make("span", { class: "count" }, formatCount(data.findings.length)));
  if (!data.findings.length) return make("section", {}, heading, make("p", { class: "quiet" }, "None: the health rules have nothing to say."));
  return make("section", { class: "findings" }, heading, ...groupsOf(data.findings).map(findingGroup));
}

// Findings of one rule stand together: the first is shown, the others on demand.
function groupsOf(findings) {
  const groups = new Map();
  for (const found of findings) groups.set(found.rule, [...(groups.get(found.rule) || []), found]);
  return [...groups.values()];
}

function findingGroup(group) {
  const [first, ...others] = group.map(findingItem);
  const more = others.length ? [make("li", { class: "more" }, make("details", {}, make("summary", {}, `${formatCount(others.length)} more of ${group[0].rule}`), make("ol", {}, ...others)))] : [];
  return make("ol", {}, first, ...more);
}

function findingItem(found) {
  const where = [found.title, found.step === null ? "" : stepsText(found), found.source].filter(Boolean).join(" · ");
  const numbers = found.numbers.map(([key, text]) => `${key} ${text}`).join(", ");
  const go = make("button", { type: "button", class: `finding ${found.severity}` },
    make("span", { class: "sign", "aria-hidden": "true" }, SIGNS[found.severity]),
    make("span", { class: "what" }, make("span", { class: "unseen" }, `${found.severity}: `), make("b", {}, found.rule), ` ${found.message}`),
    where ? make("span", { class: "where" }, where) : "");
  go.addEventListener("click", () => jumpTo(found));
  const more = [numbers && make("p", { class: "quiet" }, numbers), found.code && make("code", {}, found.code), found.advice && make("p", {}, found.advice)].filter(Boolean);
  return make("li", {}, go, more.length ? make("details", {}, make("summary", {}, "What helps"), ...more) : "");
}

const stepsText = (found) => (found.last !== null && found.last !== found.step ? `steps ${found.step} to ${found.last}` : `step ${found.step}`);

function jumpTo(found) {
  if (found.place >= 0) change({ place: found.place, playing: false });
  const node = found.node === null || !scene() ? -1 : scene().nodes.findIndex((other) => other.name === found.node);
  if (node >= 0) reveal(node);
}

function eventPanel() {
  if (!data.events.length) return [];
  const items = data.events.map((event) => {
    const text = [make("b", {}, event.kind), ` ${event.text}`, make("span", { class: "where" }, event.step === null ? "" : `step ${event.step}`)];
    const item = event.place < 0 ? make("div", { class: "event" }, ...text) : make("button", { type: "button", class: "event" }, ...text);
    if (event.place >= 0) item.addEventListener("click", () => change({ place: event.place, playing: false }));
    return make("li", {}, item);
  });
  return [make("details", { class: "fold", open: !data.findings.length }, make("summary", {}, "Events ", make("span", { class: "count" }, formatCount(items.length))), make("ol", {}, ...items))];
}

function aboutPanel() {
  const rows = [["steps", `${formatCount(data.total)}${data.steps.length < data.total ? `, ${formatCount(data.steps.length)} of them shown, those where most changes` : ""}`],
    ["seconds", formatNumber(data.times[data.times.length - 1] || 0)],
    ["structures", data.structures > 1 ? formatCount(data.structures) : ""],
    ["parameters", `${formatCount(data.curves.length + data.left_out)}${data.left_out ? `, the first ${data.curves.length} of them have curves` : ""}`],
    ...data.meta];
  const list = make("dl", {}, ...rows.filter(([, text]) => text).flatMap(([key, text]) => [make("dt", {}, key), make("dd", {}, text)]));
  const damage = data.damage.length ? [make("p", { class: "bad" }, "Damaged:"), make("ul", {}, ...data.damage.map((note) => make("li", {}, note)))] : [];
  return [make("details", { class: "fold" }, make("summary", {}, "The run"), list, ...damage)];
}

// -- what is drawn: scopes and repeats

function renderViews(changed) {
  if (!changed.has("view") && !changed.has("scene")) return;
  const bar = byId("views");
  const view = viewShown();
  bar.replaceChildren();
  if (!view) return;
  const path = view.opened.length ? view.opened[view.opened.length - 1] : [];
  const isAll = view.opened.length > 1 && !isChain(view.opened);
  bar.append(...crumbs(isAll ? [] : path), ...allToggle(isAll), ...foldToggle(view), ...partToggle(view));
}

const isChain = (opened) => opened.every((path, i) => path.length === i + 1);

function crumbs(path) {
  if (!hasScopes()) return [];
  const names = ["graph", ...path];
  return names.map((name, depth) => {
    const isLast = depth === names.length - 1;
    return button(depth ? `› ${shortened(name)}` : name, isLast ? `Open: ${name}` : `Back to ${name}`, () => openScope(path.slice(0, depth)), { class: "crumb", "aria-current": isLast ? "true" : null });
  });
}

const hasScopes = () => scene().views.some((view) => view.opened.length || view.nodes.some((node) => node.opens));

function allToggle(isAll) {
  const open = scene().views.findIndex((view) => view.opened.length && !isChain(view.opened) || (view.opened.length && !view.nodes.some((node) => node.opens)));
  if (open < 0 || !hasScopes()) return [];
  return isAll || state.view === open
    ? [button("Close all", "Close all scopes", () => openScope([]))]
    : [button("Open all", "Open all scopes", () => change({ view: open }))];
}

function foldToggle(view) {
  const other = scene().views.findIndex((found) => found.folded !== view.folded && !found.part && !view.part && found.opened.length === view.opened.length && found.opened.every((path, i) => sameScope(path, view.opened[i])));
  if (other < 0) return [];
  return [button(view.folded ? "Unfold repeats" : "Fold repeats", view.folded ? "Draw every round of a loop" : "Draw a loop once", () => change({ view: other }), { id: "fold" })];
}

function partToggle(view) {
  const { nodes, whole: all } = scene();
  if (all > nodes.length) return [make("span", { class: "quiet said" }, `made from ${formatCount(all)} nodes, too many for all of them to be here`)];
  if (!scene().views.some((found) => found.part)) return [];
  const other = otherPart();
  const count = make("span", { class: "quiet said" }, `${formatCount(view.nodes.length)} of ${formatCount(scene().nodes.length)} nodes, those nearest to the result`);
  const whole = other < 0 ? [] : [button(view.part ? "Show all of it" : "Only near the result", view.part ? "Show all of the graph" : "Show what is near the result", () => change({ view: other }), { id: "part" })];
  return view.part ? [count, ...whole] : whole;
}

// -- what the colours mean

function renderLegend(changed) {
  if (!changed.has("reference") && !changed.has("view")) return;
  const levels = [-4, -3, -2, -1, 0, 1, 2, 3, 4].map((level) => make("i", { class: `f-${levelName(level)}` }));
  const what = state.reference >= 0 ? "change" : "gradient";
  byId("legend").replaceChildren(make("span", {}, `${what} −`), make("span", { class: "scale", "aria-hidden": "true" }, ...levels), make("span", {}, "+"),
    make("span", { class: "alarm" }, "! NaN or inf"));
}

listeners.push(renderViews, renderLegend);
