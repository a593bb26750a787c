// The camera, what lies over the squares (names of scopes seen from afar, what is chosen), and the pointer.

const view = { x: 0, y: 0, scale: 1, node: -1, scope: -1, hover: -1, waiting: 0, settled: 0 };
const LEAST_SCALE = 0.002;
const MOST_SCALE = 6;
const NEAR = 1.3; // the scale at which a node is shown
const REST = 140; // milliseconds without zooming, after which squares of the new scale are drawn
const LABEL = [56, 18]; // pixels; scopes less wide or high have no name from afar
const PLACE = 340; // pixels; of wider ones the inner scopes are named
const canvas = byId("canvas");
const context = canvas.getContext("2d");

view.room = () => [canvas.clientWidth, canvas.clientHeight];

view.draw = () => {
  if (!view.waiting) view.waiting = requestAnimationFrame(paint);
};

function paint(now) {
  view.waiting = 0;
  const [width, height] = view.room();
  const ratio = density();
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const far = view.scale / tiles.scale;
  const resting = now - view.settled >= REST;
  if (!tiles.scale || (resting && far !== 1) || far > 4 || far < 0.25) tiles.rescale(view.scale);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const missing = tiles.show(context, view, width, height);
  paintOver(width, height);
  if (missing || !resting) view.draw();
}

// -- over the squares

function paintOver(width, height) {
  const seen = [-view.x / view.scale, -view.y / view.scale, (width - view.x) / view.scale, (height - view.y) / view.scale];
  paintLabels(seen);
  context.save();
  context.translate(view.x, view.y);
  context.scale(view.scale, view.scale);
  if (view.scope > 0) outline(scopeBox(view.scope), colours.highlight, 2.5);
  if (view.hover >= 0) outline(nodeBox(view.hover), colours.ink, 1);
  if (view.node >= 0) paintChosen();
  context.restore();
}

function outline([left, top, width, height], colour, line) {
  const least = Math.max(0, 6 / view.scale - width) / 2; // seen from afar as well
  context.strokeStyle = colour;
  context.lineWidth = line / view.scale;
  context.strokeRect(left - least, top - least, width + 2 * least, height + 2 * least);
}

function paintChosen() {
  const { columns, users } = model;
  const edges = [...members(users, view.node)].slice(0, 500);
  for (let edge = view.node ? columns.inputs[view.node - 1] : 0; edge < columns.inputs[view.node]; edge += 1) edges.push(edge);
  context.strokeStyle = colours.highlight;
  context.lineWidth = 1.8 / view.scale;
  context.beginPath();
  for (const edge of edges) tracePath(context, edge, view.scale, true);
  context.stroke();
  const hidden = places.hider[columns.scope[view.node]];
  outline(hidden >= 0 ? scopeBox(hidden) : nodeBox(view.node), colours.highlight, 3);
}

// The names of scopes whose heads cannot be read, as on a map: of the outermost that are small enough to be one place.
function paintLabels([left, top, right, bottom]) {
  const { scopes } = model;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const headsAreRead = 9 * view.scale >= READABLE;
  const isLarge = (scope) => scopes.width[scope] * view.scale >= LABEL[0] && scopes.height[scope] * view.scale >= LABEL[1];
  const isSeen = (scope) => scopes.left[scope] <= right && scopes.left[scope] + scopes.width[scope] >= left && scopes.top[scope] <= bottom && scopes.top[scope] + scopes.height[scope] >= top;
  const waiting = [0];
  while (waiting.length) {
    const scope = waiting.pop();
    if (places.closed.has(scope)) { paintLabel(scope, true); continue; }
    const inner = [...members(scopes.children, scope)].filter(isLarge);
    const isPlace = scope && !headsAreRead && (scopes.width[scope] * view.scale <= PLACE || !inner.length);
    if (isPlace) paintLabel(scope, false);
    for (const one of inner) if (isSeen(one) && (!isPlace || places.closed.has(one))) waiting.push(one);
  }
  context.textAlign = "start";
  context.textBaseline = "alphabetic";
}

function paintLabel(scope, isClosed) {
  const { scopes } = model;
  const [width, height] = [scopes.width[scope] * view.scale, scopes.height[scope] * view.scale];
  const [x, y] = [(scopes.left[scope] * view.scale) + view.x + width / 2, (scopes.top[scope] * view.scale) + view.y + height / 2];
  const size = Math.max(10, Math.min(isClosed ? 20 : 15, height / 3));
  const hasRoom = isClosed && height > 3 * size;
  write(scopes.names[scope], x, hasRoom ? y - size * 0.6 : y, width - 8, `600 ${size}px`, isClosed);
  if (hasRoom) write(countText(scopes.inside[scope], "node"), x, y + size * 0.7, width - 8, `${Math.max(9, size * 0.75)}px`, isClosed);
}

function write(text, x, y, width, font, isClosed) {
  context.font = `${font} system-ui, Helvetica, Arial, sans-serif`;
  const shown = fitted(context, text, width);
  if (shown.length < text.length / 2) return;
  context.strokeStyle = isClosed ? colours.card : colours.scope;
  context.lineWidth = 4;
  context.strokeText(shown, x, y);
  context.fillStyle = colours.ink;
  context.fillText(shown, x, y);
}

// -- the camera

view.fit = (box = [0, 0, ...model.size], most = 1.5) => {
  const [width, height] = view.room();
  const scale = Math.min(most, (width - 24) / box[2], (height - 24) / box[3]);
  view.scale = Math.max(LEAST_SCALE, Math.min(MOST_SCALE, scale));
  view.x = width / 2 - (box[0] + box[2] / 2) * view.scale;
  view.y = height / 2 - (box[1] + box[3] / 2) * view.scale;
  view.draw();
};

view.zoom = (factor, [px, py] = view.room().map((side) => side / 2)) => {
  const scale = Math.max(LEAST_SCALE, Math.min(MOST_SCALE, view.scale * factor));
  view.x = px - ((px - view.x) * scale) / view.scale;
  view.y = py - ((py - view.y) * scale) / view.scale;
  view.scale = scale;
  view.settled = performance.now();
  view.draw();
};

view.move = (dx, dy) => {
  const [width, height] = view.room();
  const keep = 60; // pixels of the picture stay in sight
  view.x = Math.max(keep - model.size[0] * view.scale, Math.min(width - keep, view.x + dx));
  view.y = Math.max(keep - model.size[1] * view.scale, Math.min(height - keep, view.y + dy));
  view.draw();
};

// Bring a node into sight, as large as can be read.
view.reveal = (node) => {
  const [left, top, width, height] = nodeBox(node);
  const [across, down] = view.room();
  const [x, y] = [(left + width / 2) * view.scale + view.x, (top + height / 2) * view.scale + view.y];
  if (view.scale >= NEAR * 0.6 && x > 40 && y > 40 && x < across - 40 && y < down - 40) return view.draw();
  view.scale = Math.max(view.scale, NEAR);
  view.x = across / 2 - (left + width / 2) * view.scale;
  view.y = down / 2 - (top + height / 2) * view.scale;
  view.draw();
};

// -- the pointer

const pointers = new Map();
const pointIn = (event) => {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};
const inPicture = ([x, y]) => [(x - view.x) / view.scale, (y - view.y) / view.scale];

function startPointer(chosen, toggled) {
  let dragged = false;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    if (!pointers.size) dragged = false;
    pointers.set(event.pointerId, pointIn(event));
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [now, before] = [pointIn(event), pointers.get(event.pointerId)];
    if (!before) return hoverAt(now);
    if (pointers.size === 1 && !dragged && Math.hypot(now[0] - before[0], now[1] - before[1]) < 4) return;
    dragged = true;
    const spread = () => { const [[ax, ay], [bx, by]] = [...pointers.values()]; return Math.hypot(ax - bx, ay - by); };
    const wide = pointers.size === 2 ? spread() : 0;
    pointers.set(event.pointerId, now);
    view.move((now[0] - before[0]) / pointers.size, (now[1] - before[1]) / pointers.size);
    if (wide > 0) view.zoom(spread() / wide, now);
  });
  const up = (event) => {
    const tapped = event.type === "pointerup" && pointers.size === 1 && !dragged && pointers.has(event.pointerId);
    pointers.delete(event.pointerId);
    if (tapped) chosen(places.at(...inPicture(pointIn(event))));
  };
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, up);
  canvas.addEventListener("dblclick", (event) => toggled(places.at(...inPicture(pointIn(event)))));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const rate = event.deltaMode === 1 ? 0.05 : event.ctrlKey ? 0.01 : 0.0018;
    view.zoom(Math.exp(-event.deltaY * rate), pointIn(event));
  }, { passive: false });
  new ResizeObserver(() => view.draw()).observe(canvas);
}

function hoverAt(point) {
  const { node } = places.at(...inPicture(point));
  if (node === view.hover) return;
  view.hover = node;
  canvas.title = node >= 0 ? `${model.names[node]}: ${numberText(model.values, node) || model.ops[model.columns.op[node]]}` : "";
  view.draw();
}
