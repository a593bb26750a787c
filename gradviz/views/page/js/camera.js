// Moving over the picture: drag, wheel, two fingers, keys.

const camera = { x: 0, y: 0, scale: 1, dragged: false };
const LEAST = 0.04;
const MOST = 6;
const NATURAL = 4 / 3; // pixels a point
const MARGIN = 14;
const UNDER = 46; // for the legend and the buttons below the picture

function seenBox() {
  const { width, height } = stage.getBoundingClientRect();
  const { x, y, scale } = camera;
  return [-x / scale, -y / scale, (width - x) / scale, (height - y) / scale];
}

camera.apply = () => {
  if (!picture) return;
  picture.world.setAttribute("transform", `translate(${camera.x.toFixed(1)} ${camera.y.toFixed(1)}) scale(${camera.scale.toFixed(4)})`);
  if (!camera.waiting) camera.waiting = requestAnimationFrame(() => {
    camera.waiting = 0;
    picture?.updateSeen();
  });
};

function fittingScale() {
  const { width, height } = stage.getBoundingClientRect();
  const { view } = picture;
  return Math.min(NATURAL * 1.1, (width - 2 * MARGIN) / view.width, (height - MARGIN - UNDER) / view.height);
}

// The whole picture, no larger than natural; one that would get too small is shown from its start.
camera.fit = () => {
  if (!picture) return;
  const { width, height } = stage.getBoundingClientRect();
  const view = picture.view;
  camera.scale = Math.max(LEAST, fittingScale());
  camera.x = (width - view.width * camera.scale) / 2;
  camera.y = MARGIN + (height - MARGIN - UNDER - view.height * camera.scale) / 2;
  camera.fitted = true;
  camera.apply();
};

camera.zoom = (factor, centre = null) => {
  const { width, height } = stage.getBoundingClientRect();
  const [px, py] = centre || [width / 2, height / 2];
  const scale = Math.max(LEAST, Math.min(MOST, camera.scale * factor));
  camera.x = px - ((px - camera.x) * scale) / camera.scale;
  camera.y = py - ((py - camera.y) * scale) / camera.scale;
  camera.scale = scale;
  camera.fitted = false;
  camera.apply();
};

camera.move = (dx, dy) => {
  camera.x += dx;
  camera.y += dy;
  camera.fitted = false;
  camera.apply();
};

// Bring a box into sight, large enough to be read.
camera.show = ([x, y, boxWidth, boxHeight], least = FAR) => {
  const { width, height } = stage.getBoundingClientRect();
  const scale = Math.max(camera.scale, least);
  const [left, top] = [x * scale + camera.x, y * scale + camera.y];
  const inside = left >= 0 && top >= 0 && left + boxWidth * scale <= width && top + boxHeight * scale <= height;
  if (scale === camera.scale && inside) return;
  camera.scale = scale;
  camera.x = width / 2 - (x + boxWidth / 2) * scale;
  camera.y = height / 2 - (y + boxHeight / 2) * scale;
  camera.fitted = false;
  camera.apply();
};

// A chosen card stays in sight when the details take some of the room.
function resized() {
  if (!picture) return;
  const place = state.node >= 0 ? viewShown()?.places[state.node] ?? null : null;
  if (camera.fitted && (place === null || fittingScale() >= READABLE * 0.85)) camera.fit();
  else camera.apply();
  if (place !== null) camera.show(viewShown().nodes[place].box);
}

// -- pointers

const pointers = new Map();

function placeIn(event) {
  const box = stage.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

const span = ([[ax, ay], [bx, by]]) => Math.hypot(ax - bx, ay - by);
const centreOf = ([[ax, ay], [bx, by]]) => [(ax + bx) / 2, (ay + by) / 2];

function pointerDown(event) {
  if (event.button) return;
  if (!pointers.size) camera.dragged = false;
  pointers.set(event.pointerId, placeIn(event));
}

function pointerMove(event) {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = placeIn(event);
  if (pointers.size === 2) pinch(event.pointerId, now);
  else if (camera.dragged || Math.hypot(now[0] - before[0], now[1] - before[1]) > 4) drag(event, before, now);
}

function drag(event, before, now) {
  if (!camera.dragged) stage.setPointerCapture(event.pointerId);
  camera.dragged = true;
  stage.classList.add("dragging");
  pointers.set(event.pointerId, now);
  camera.move(now[0] - before[0], now[1] - before[1]);
}

function pinch(id, now) {
  const before = [...pointers.values()];
  pointers.set(id, now);
  const after = [...pointers.values()];
  const [[fromX, fromY], [toX, toY]] = [centreOf(before), centreOf(after)];
  camera.dragged = true;
  camera.move(toX - fromX, toY - fromY);
  if (span(before) > 0) camera.zoom(span(after) / span(before), [toX, toY]);
}

function pointerUp(event) {
  pointers.delete(event.pointerId);
  if (!pointers.size) {
    stage.classList.remove("dragging");
    setTimeout(() => { camera.dragged = false; });
  }
}

function startCamera() {
  stage.addEventListener("pointerdown", pointerDown);
  stage.addEventListener("pointermove", pointerMove);
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, pointerUp);
  stage.addEventListener("click", () => { if (!camera.dragged) change({ node: -1 }); });
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const rate = event.deltaMode === 1 ? 0.05 : event.ctrlKey ? 0.01 : 0.0018; // Ctrl: two fingers on a trackpad
    camera.zoom(Math.exp(-event.deltaY * rate), placeIn(event));
  }, { passive: false });
  new ResizeObserver(resized).observe(stage);
  byId("zoom").append(
    button("−", "Zoom out", () => camera.zoom(1 / 1.3)),
    button("+", "Zoom in", () => camera.zoom(1.3)),
    button("Fit", "Show the whole graph", () => camera.fit()));
}
