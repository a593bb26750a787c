// The picture in squares that are drawn once for a scale and then only moved; a few milliseconds of them each frame.

const tiles = { made: new Map(), scale: 0, before: null, overview: null };
const SIDE = 256; // pixels of the page
const KEPT = 400; // squares
const BUDGET = 7; // milliseconds a frame
const OVERVIEW = 1600; // pixels of the longer side of the picture that stands behind until squares are drawn
const TONES = ["i", "p", "c", "o", "x", ...Array.from({ length: 9 }, (_, level) => `g${level}`)];
const READABLE = 4.2; // pixels of letters
const colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  const step = (level) => (level < 4 ? `n${4 - level}` : level > 4 ? `p${level - 4}` : "0");
  const own = { i: ["input", "input-line"], p: ["param", "param-line"], c: ["const", "const-line"], o: ["card", "alarm"], x: ["alarm-fill", "alarm"] };
  colours.boxes = TONES.map((tone, place) => (own[tone] || [`fill-${step(place - 5)}`, "line"]).map(of));
  for (const name of ["paper", "ink", "muted", "line", "card", "scope", "scope-line", "highlight"]) colours[name] = of(name);
}

tiles.clear = () => {
  tiles.made.clear();
  tiles.before = tiles.overview = null;
};

// -- drawing a part of the picture

function drawPart(context, box, scale) {
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  context.save();
  context.scale(scale, scale);
  context.translate(-box[0], -box[1]);
  drawScopes(context, box, scale);
  drawEdges(context, box, scale);
  drawNodes(context, box, scale);
  context.restore();
}

function drawScopes(context, box, scale) {
  context.lineWidth = 1 / scale;
  context.strokeStyle = colours["scope-line"];
  context.font = "9px system-ui, Helvetica, Arial, sans-serif";
  const named = 9 * scale >= READABLE;
  places.eachScope(box, 3 / scale, (scope) => {
    const [left, top, width, height] = scopeBox(scope);
    const closed = places.closed.has(scope);
    context.fillStyle = closed ? colours.card : colours.scope;
    context.fillRect(left, top, width, height);
    context.strokeRect(left, top, width, height);
    if (!named || closed) return;
    context.fillStyle = colours.muted;
    context.fillText(fitted(context, model.scopes.names[scope], width - 8), left + 5, top + 11);
  });
}

function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let length = text.length;
  while (length > 1 && context.measureText(`${text.slice(0, length)}…`).width > width) length = Math.floor(length * 0.8);
  return `${text.slice(0, length)}…`;
}

function drawEdges(context, box, scale) {
  context.strokeStyle = colours.line;
  context.lineWidth = Math.max(0.6, 0.7 / scale);
  context.globalAlpha = scale < 0.3 ? 0.35 : 0.65;
  let waiting = 0;
  context.beginPath();
  places.eachEdge(box, 2.5 / scale, (edge) => {
    tracePath(context, edge, scale);
    waiting += 1;
    if (waiting % 400) return;
    context.stroke();
    context.beginPath();
  });
  context.stroke();
  context.globalAlpha = 1;
}

// Straight along an axis, else a curve that starts and ends level; from afar all lines are straight. Of an edge of a
// node that is used very often only the end is drawn, until the node is chosen.
function tracePath(context, edge, scale, whole = false) {
  if (model.columns.stub[edge] && !whole) {
    context.moveTo(places.x2[edge] - STUB, places.y2[edge]);
    context.lineTo(places.x2[edge], places.y2[edge]);
    return;
  }
  let [x, y] = [places.x1[edge], places.y1[edge]];
  const to = (nextX, nextY) => {
    if (nextX === x || nextY === y || scale < 0.15) context.lineTo(nextX, nextY);
    else {
      const bend = nextX > x ? (nextX - x) / 2 : Math.max(8, (x - nextX) / 2);
      context.bezierCurveTo(x + bend, y, nextX - bend, nextY, nextX, nextY);
    }
    [x, y] = [nextX, nextY];
  };
  context.moveTo(x, y);
  const route = places.route[edge];
  const { starts, x: xs, y: ys } = model.routes;
  if (route >= 0) for (let at = starts[route]; at < starts[route + 1]; at += 1) to(xs[at], ys[at]);
  to(places.x2[edge], places.y2[edge]);
}

function drawNodes(context, box, scale) {
  const { left, top, width, tone } = model.columns;
  const found = TONES.map(() => []);
  places.eachNode(box, (node) => found[tone[node]].push(node));
  const outlined = model.height * scale > 5;
  const least = 1 / scale; // a node is never less than a pixel
  context.lineWidth = 0.6;
  found.forEach((nodes, kind) => {
    const [fill, line] = colours.boxes[kind];
    context.fillStyle = outlined || fill !== colours.card ? fill : line;
    context.strokeStyle = line;
    for (const node of nodes) {
      context.fillRect(left[node], top[node], Math.max(least, width[node]), Math.max(least, model.height));
      if (outlined) context.strokeRect(left[node], top[node], width[node], model.height);
    }
  });
  if (8 * scale < READABLE) return;
  context.fillStyle = colours.ink;
  context.font = "8px Helvetica, Arial, sans-serif";
  for (const nodes of found) for (const node of nodes) context.fillText(model.labels[node], left[node] + 3, top[node] + 10, width[node] - 4);
}

// -- squares

const density = () => Math.min(2, window.devicePixelRatio || 1);

function square(x, y) {
  const key = `${x} ${y}`;
  const found = tiles.made.get(key);
  if (found) return found;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE * density();
  const side = SIDE / tiles.scale;
  drawPart(canvas.getContext("2d"), [x * side, y * side, (x + 1) * side, (y + 1) * side], tiles.scale * density());
  tiles.made.set(key, canvas);
  if (tiles.made.size > KEPT) tiles.made.delete(tiles.made.keys().next().value);
  return canvas;
}

function overview() {
  const [width, height] = model.size;
  const scale = OVERVIEW / Math.max(width, height, 1);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.ceil(width * scale));
  canvas.height = Math.max(1, Math.ceil(height * scale));
  drawPart(canvas.getContext("2d"), [0, 0, width, height], scale);
  return canvas;
}

// From now on squares are of this scale; those there are stand behind them until they are drawn.
tiles.rescale = (scale) => {
  if (scale === tiles.scale) return;
  if (tiles.made.size) tiles.before = { made: tiles.made, scale: tiles.scale };
  tiles.made = new Map();
  tiles.scale = scale;
};

// Put on the canvas what is seen through the camera; return whether squares are still missing.
tiles.show = (context, camera, width, height) => {
  const started = performance.now();
  tiles.overview ||= overview();
  const [across, down] = model.size;
  context.imageSmoothingEnabled = true;
  context.drawImage(tiles.overview, camera.x, camera.y, across * camera.scale, down * camera.scale);
  const wanted = seenSquares(camera, width, height, tiles.scale);
  const missing = wanted.filter(([x, y]) => !tiles.made.has(`${x} ${y}`));
  if (missing.length && tiles.before) putSquares(context, camera, seenSquares(camera, width, height, tiles.before.scale), tiles.before);
  while (missing.length && performance.now() - started < BUDGET) square(...missing.shift());
  putSquares(context, camera, wanted, tiles);
  if (!missing.length) tiles.before = null;
  return missing.length > 0;
};

function putSquares(context, camera, wanted, { made, scale }) {
  const side = (SIDE * camera.scale) / scale;
  for (const [x, y] of wanted) {
    const canvas = made.get(`${x} ${y}`);
    if (!canvas) continue;
    const [left, top, right, bottom] = [x, y, x + 1, y + 1].map((at, place) => Math.round(at * side + (place % 2 ? camera.y : camera.x)));
    context.clearRect(left, top, right - left, bottom - top);
    context.drawImage(canvas, left, top, right - left, bottom - top);
  }
}

// The squares that cover what is seen, those in the middle first.
function seenSquares(camera, width, height, scale) {
  const side = (SIDE * camera.scale) / scale;
  const last = (length) => Math.floor((length * scale) / SIDE);
  const [x1, y1] = [Math.max(0, Math.floor(-camera.x / side)), Math.max(0, Math.floor(-camera.y / side))];
  const [x2, y2] = [Math.min(last(model.size[0]), Math.floor((width - camera.x) / side)), Math.min(last(model.size[1]), Math.floor((height - camera.y) / side))];
  const found = [];
  for (let y = y1; y <= y2; y += 1) for (let x = x1; x <= x2; x += 1) found.push([x, y]);
  const far = ([x, y]) => Math.hypot(x - (x1 + x2) / 2, y - (y1 + y2) / 2);
  return found.sort((one, other) => far(one) - far(other));
}
