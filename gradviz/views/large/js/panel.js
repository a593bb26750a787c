// Beside the picture: what is known of a node or a scope, search, how deep scopes are open, keys.

const details = byId("details");
const FOUND = 60;
const LISTED = 12;

function link(node) {
  return button(model.names[node], `Go to ${model.names[node]}`, () => choose({ node }), { class: "link" });
}

function row(key, ...content) {
  const shown = content.filter((part) => part !== "" && part !== null);
  return shown.length ? [make("dt", {}, key), make("dd", { class: /^(! |NaN|-?inf)/.test(shown[0]) ? "bad" : null }, ...shown)] : [];
}

function links(nodes) {
  const found = [...nodes].slice(0, LISTED).flatMap((node) => [link(node), " "]);
  return nodes.length > LISTED ? [...found, `and ${(nodes.length - LISTED).toLocaleString("en")} more`] : found;
}

function showNode(node) {
  const { columns } = model;
  const inputs = model.src.subarray(node ? columns.inputs[node - 1] : 0, columns.inputs[node]);
  const users = [...new Set([...members(model.users, node)].map((edge) => model.dst[edge]))];
  const [type, kind] = model.types[columns.type[node]];
  const [place, code] = model.sources[columns.source[node]];
  const scope = columns.scope[node];
  const noGrad = kind === "const" ? "" : "none";
  return [make("h2", {}, model.names[node]), make("dl", {},
    ...row(kind === "op" ? "op" : "kind", kind === "op" ? model.ops[columns.op[node]] : kind),
    ...row("type", type),
    ...row("value", numberText(model.values, node)),
    ...row("gradient", numberText(model.grads, node) || noGrad),
    ...row("of", ...links(inputs)),
    ...row("used by", ...links(users)),
    ...row("scope", scope ? button(scopePath(scope).join(" / "), "Show the scope", () => choose({ scope }), { class: "link" }) : ""),
    ...row("source", place || ""), ...row("", code ? make("code", {}, code) : ""))];
}

function showScope(scope) {
  const closed = places.closed.has(scope);
  const [ops, bad] = insideOf(scope);
  const most = [...ops].sort((one, other) => other[1] - one[1]).slice(0, 5).map(([op, count]) => `${count.toLocaleString("en")} ${model.ops[op]}`);
  return [make("h2", {}, model.scopes.names[scope]), make("dl", {},
    ...row("scope", scopePath(scope).join(" / ")),
    ...row("inside", countText(model.scopes.inside[scope], "node")),
    ...row("ops", most.join(", ")),
    ...row("not finite", bad ? bad.toLocaleString("en") : "")),
  button(closed ? "Open" : "Close", closed ? "Open the scope" : "Close the scope", () => toggle(scope), { id: "toggle" }),
  button("Zoom to it", "Zoom to the scope", () => view.fit(scopeBox(scope), 3))];
}

function insideOf(scope) {
  const inside = new Uint8Array(model.scopes.count);
  inside[scope] = 1;
  for (let one = scope + 1; one < inside.length; one += 1) inside[one] |= inside[model.scopes.parents[one]];
  const ops = new Map();
  let bad = 0;
  for (let node = 0; node < model.count; node += 1) {
    if (!inside[model.columns.scope[node]]) continue;
    const op = model.columns.op[node];
    ops.set(op, (ops.get(op) || 0) + 1);
    bad += TONES[model.columns.tone[node]] === "x";
  }
  return [ops, bad];
}

// Choose a node or a scope, or nothing; bring a node into sight unless it was clicked.
function choose({ node = -1, scope = -1 }, isClicked = false) {
  if (node >= 0) unhide(node);
  view.node = node;
  view.scope = node >= 0 ? -1 : scope;
  details.hidden = node < 0 && scope <= 0;
  if (!details.hidden) {
    details.replaceChildren(button("×", "Close", () => choose({}), { class: "shut" }), ...(node >= 0 ? showNode(node) : showScope(scope)));
  }
  try { history.replaceState(null, "", node >= 0 ? `#n${node}` : location.pathname + location.search); } catch { /* a page without an address */ }
  byId("found").replaceChildren();
  if (node >= 0 && !isClicked) view.reveal(node);
  view.draw();
}

function unhide(node) {
  if (places.hider[model.columns.scope[node]] < 0) return;
  for (let scope = model.columns.scope[node]; scope > 0; scope = model.scopes.parents[scope]) places.closed.delete(scope);
  refresh();
}

function refresh() {
  places.update();
  tiles.clear();
  view.draw();
}

function toggle(scope) {
  if (scope <= 0) return;
  if (!places.closed.delete(scope)) places.closed.add(scope);
  refresh();
  choose({ scope });
}

// -- search

function startSearch() {
  const field = byId("wanted");
  const list = byId("found");
  let due = 0;
  field.addEventListener("input", () => {
    clearTimeout(due);
    due = setTimeout(() => listFound(field.value, list), 90);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { field.value = ""; list.replaceChildren(); canvas.focus(); }
    if (event.key === "Enter") {
      clearTimeout(due);
      listFound(field.value, list);
      list.querySelector("button")?.click();
    }
    if (event.key === "ArrowDown") list.querySelector("button")?.focus();
  });
}

function listFound(text, list) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return list.replaceChildren();
  const { nodes, count } = matching(wanted);
  const items = nodes.map((node) => make("li", {}, link(node), make("span", {}, [model.ops[model.columns.op[node]], scopePath(model.columns.scope[node]).join(" / ")].filter(Boolean).join(" · "))));
  const word = count ? `${countText(count, "node")}${count > nodes.length ? `, the first ${nodes.length}` : ""}` : "nothing of that name";
  list.replaceChildren(make("li", { class: "quiet", role: "status" }, word), ...items);
}

// Nodes whose name, op, scope or source line holds the text; whole names first.
function matching(wanted) {
  const holds = (one) => one.toLowerCase().includes(wanted);
  const { columns, names, scopes } = model;
  const ops = model.ops.map(holds);
  const lines = model.sources.map((parts) => parts.some(holds));
  const inScope = new Uint8Array(scopes.count);
  for (let scope = 1; scope < scopes.count; scope += 1) inScope[scope] = inScope[scopes.parents[scope]] || holds(scopes.names[scope]);
  const [whole, others] = [[], []];
  let count = 0;
  for (let node = 0; node < model.count; node += 1) {
    const byName = holds(names[node]);
    if (!byName && !ops[columns.op[node]] && !inScope[columns.scope[node]] && !lines[columns.source[node]]) continue;
    count += 1;
    if (byName && names[node].toLowerCase() === wanted) whole.push(node);
    else if (others.length < FOUND) others.push(node);
  }
  return { nodes: [...whole, ...others].slice(0, FOUND), count };
}

// -- how deep, and what is not finite

function startDepth() {
  const select = byId("depth");
  const deepest = model.scopes.depth.reduce((most, depth) => Math.max(most, depth), 0);
  select.parentElement.hidden = deepest === 0;
  for (let depth = 1; depth <= Math.min(deepest, 12); depth += 1) select.append(make("option", { value: depth }, depth === 1 ? "outermost only" : `${depth} levels`));
  select.append(make("option", { value: 0, selected: true }, "all"));
  select.addEventListener("change", () => {
    const closed = Number(select.value);
    places.closed.clear();
    for (let scope = 1; closed && scope < model.scopes.count; scope += 1) if (model.scopes.depth[scope] === closed) places.closed.add(scope);
    refresh();
    choose({});
  });
}

function startBad() {
  const bad = [...model.columns.tone.keys()].filter((node) => TONES[model.columns.tone[node]] === "x");
  const jump = byId("bad");
  jump.hidden = !bad.length;
  jump.textContent = `${bad.length.toLocaleString("en")} not finite`;
  jump.addEventListener("click", () => choose({ node: bad.find((node) => node > view.node) ?? bad[0] }));
}

// -- keys

function key(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
  const actions = { "+": () => view.zoom(1.3), "=": () => view.zoom(1.3), "-": () => view.zoom(1 / 1.3), 0: () => view.fit(), "/": () => byId("wanted").focus(), Escape: () => choose({}) };
  if (event.key === "Enter" && event.target === canvas) toggle(view.scope);
  else if (actions[event.key]) actions[event.key]();
  else if (event.key.startsWith("Arrow") && event.target === canvas) arrow(event.key);
  else return;
  event.preventDefault();
}

function arrow(name) {
  const { node } = view;
  if (node < 0) {
    const [dx, dy] = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] }[name];
    return view.move(dx, dy);
  }
  const start = node ? model.columns.inputs[node - 1] : 0;
  const input = model.columns.inputs[node] > start ? model.src[start] : -1;
  const user = members(model.users, node)[0];
  const to = { ArrowLeft: input, ArrowRight: user === undefined ? -1 : model.dst[user], ArrowUp: node - 1, ArrowDown: node + 1 < model.count ? node + 1 : -1 }[name];
  if (to >= 0) choose({ node: to });
}
