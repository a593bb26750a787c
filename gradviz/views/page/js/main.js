// Unpack the numbers, put the page together, show the step asked for.

async function unpackAll() {
  data.loss.values = Array.from(await unpackNumbers(data.loss.values, data.loss.steps.length));
  data.losses = Array.from(await unpackNumbers(data.losses, data.steps.length));
  const histories = await unpackNumbers(data.histories, data.steps.length);
  const steps = data.steps.length;
  data.curves.forEach((curve, place) => {
    curve.value = Array.from(histories.subarray(2 * place * steps, (2 * place + 1) * steps));
    curve.grad = Array.from(histories.subarray((2 * place + 1) * steps, (2 * place + 2) * steps));
    curve.moved = movedBy(curve.value);
  });
  await Promise.all(scenes.map((found) => found.unpack()));
}

// How far a curve goes, beside its size.
function movedBy(values) {
  const finite = values.filter(Number.isFinite);
  const low = finite.reduce((least, y) => Math.min(least, y), Infinity);
  const high = finite.reduce((most, y) => Math.max(most, y), -Infinity);
  return finite.length ? (high - low) / Math.max(Math.abs(low), Math.abs(high), 1e-300) : 0;
}

const lastDrawn = () => {
  const place = data.scene.findLastIndex((found) => found >= 0);
  return place < 0 ? data.steps.length - 1 : place;
};

function wantedState() {
  const wanted = Object.fromEntries(location.hash.slice(1).split("&").map((part) => part.split("=")));
  const place = /^-?\d+$/.test(wanted.step || "") ? nearestPlace(Number(wanted.step)) : lastDrawn();
  const node = /^\d+$/.test(wanted.node || "") && sceneAt(place)?.nodes[wanted.node] ? Number(wanted.node) : -1;
  return { place, node };
}

function keepAddress(changed) {
  if (state.playing || !(changed.has("place") || changed.has("node") || changed.has("playing"))) return;
  const node = state.node >= 0 ? `&node=${state.node}` : "";
  try {
    history.replaceState(null, "", `#step=${data.steps[state.place]}${node}`);
  } catch { /* a page without an address, or too many changes at once */ }
}

async function start() {
  if (!data.steps.length || typeof DecompressionStream === "undefined") return;
  await unpackAll();
  byId("still").hidden = true;
  byId("app").hidden = false;
  byId("tools").hidden = false;
  document.body.classList.add("running");
  startPanels();
  startTimeline();
  startCamera();
  startSearch();
  startKeys();
  const { place, node } = wantedState();
  state.place = place;
  state.view = scene() ? scene().shown : -1;
  listeners.forEach((listener) => listener(new Set(["place", "view", "scene", "reference", "playing"])));
  if (node >= 0) reveal(node);
  listeners.push(keepAddress);
  document.body.dataset.ready = "yes";
}

start();
