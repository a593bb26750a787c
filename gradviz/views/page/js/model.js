// What the page knows: scenes with the numbers of their steps, and the state that everything shown follows from.

const data = JSON.parse(byId("data").textContent);
const MISSING = 1;
const SUMMED_ONLY = 2;
const BAD_CELL = 128;
const LEVELS = 32;

class Scene {
  constructor(given) {
    Object.assign(this, given);
    this.users = this.nodes.map(() => []);
    this.nodes.forEach((node, id) => node.inputs.forEach((src, arg) => this.users[src].push([id, arg])));
    this.placeOf = new Map(this.places.map((place, step) => [place, step]));
    this.tracks = this.numbers.tracks.map(([form, shape, start, cells, rows, columns, members]) => {
      const size = shape.reduce((all, length) => all * length, 1);
      const width = { scalar: 1, full: size }[form] || 8;
      return { form, shape, size, start, cells, rows, columns, members, width, depth: 1 + rows * columns };
    });
    this.largestAt = new Map();
  }

  async unpack() {
    const steps = this.places.length;
    const { numbers } = this;
    [this.columns, this.bytes] = await Promise.all([unpackNumbers(numbers.numbers, steps), unpackBytes(numbers.bytes, steps)]);
    this.steps = steps;
    numbers.numbers = numbers.bytes = "";
  }

  // The number of a track, "value" or "grad", at a step of this scene.
  number(place, kind, step) {
    const track = this.tracks[place];
    const first = track.cells + (kind === "grad" ? track.depth : 0);
    const state = this.bytes[first * this.steps + step];
    if (state === MISSING) return { form: "none" };
    const start = track.start + (kind === "grad" ? track.width : 0);
    const at = (column) => this.columns[(start + column) * this.steps + step];
    if (track.form === "scalar") return { form: "scalar", x: at(0) };
    const head = { shape: track.shape, size: track.size };
    if (track.form === "full") return { form: "full", ...head, elements: Float64Array.from({ length: track.size }, (_, i) => at(i)) };
    const [low, high, mean, norm, zeros, nans, infs, top] = [0, 1, 2, 3, 4, 5, 6, 7].map(at);
    const summedOnly = state === SUMMED_ONLY;
    const cells = summedOnly || !track.rows ? null : this.heat(track, first + 1, step, top);
    return { form: "sum", ...head, low, high, mean, norm, zeros, nans, infs, cells, summedOnly, rows: track.rows, columns: track.columns };
  }

  // The cells of a heat map, row by row; null where there is a NaN or an infinity.
  heat(track, first, step, top) {
    return Array.from({ length: track.rows * track.columns }, (_, i) => {
      const cell = this.bytes[(first + i) * this.steps + step];
      return cell === BAD_CELL ? null : (((cell << 24) >> 24) / LEVELS) * top;
    });
  }

  // How large a gradient an edge carries: NaN if none, Infinity if it is none that can be drawn.
  edgeSize(size, step) {
    if (!size) return NaN;
    if (size[0] === "edge") return this.columns[(this.numbers.columns + size[1]) * this.steps + step];
    const grad = this.number(size[1], "grad", step);
    return isBad(grad) ? Infinity : sizeOf(grad);
  }

  largest(step) {
    if (!this.largestAt.has(step)) {
      const sizes = this.nodes.map((_, id) => Math.abs(sizeOf(this.number(id, "grad", step))));
      this.largestAt.set(step, sizes.reduce((most, size) => (Number.isFinite(size) && size > most ? size : most), 0));
    }
    return this.largestAt.get(step);
  }

  // How large the elements of an array are: bins of powers of two and the share of elements in each.
  exponents(place, kind, step) {
    const found = this.numbers.exponents.find(([track, which]) => track === place && which === kind);
    if (!found) return null;
    const [, , low, count, start] = found;
    return { low, shares: Array.from({ length: count }, (_, i) => this.bytes[(start + i) * this.steps + step] / 255) };
  }
}

// -- the state

const state = { place: data.steps.length - 1, reference: -1, node: -1, view: -1, playing: false };
const listeners = [];
const scenes = data.scenes.map((given) => new Scene(given));

const sceneAt = (place) => scenes[data.scene[place]] || null;
const scene = () => sceneAt(state.place);
const localStep = (place = state.place) => sceneAt(place)?.placeOf.get(place);
const comparing = () => state.reference >= 0 && sceneAt(state.reference) === scene();
const viewShown = () => (scene() ? scene().views[state.view] : null);

// Change the state and tell everybody what has changed.
function change(wanted) {
  const before = { ...state, scene: scene() };
  Object.assign(state, wanted);
  state.place = Math.max(0, Math.min(data.steps.length - 1, state.place));
  if (scene() && scene() !== before.scene) moveInto(scene(), before);
  const changed = new Set(Object.keys(state).filter((name) => state[name] !== before[name]));
  if (scene() !== before.scene) changed.add("scene").add("view");
  if (changed.size) listeners.forEach((listener) => listener(changed));
}

// Keep the chosen node by its name when the structure changes.
function moveInto(next, before) {
  const name = before.scene?.nodes[before.node]?.name;
  if (!Object.is(before.scene, null)) state.node = next.nodes.findIndex((node) => node.name === name);
  state.view = next.shown;
}

const nearestPlace = (step) => {
  let best = 0;
  data.steps.forEach((other, place) => {
    if (Math.abs(other - step) < Math.abs(data.steps[best] - step)) best = place;
  });
  return best;
};

// The numbers of a track as they are to be shown: as they are, or what has changed.
function shownNumber(track, kind) {
  const now = scene().number(track, kind, localStep());
  if (!comparing()) return now;
  return differenceOf(now, scene().number(track, kind, localStep(state.reference)));
}

// The colour of a number: that of its gradient, or of how much it has changed beside what it was.
function colourLevel(track, kind) {
  const step = localStep();
  if (!comparing()) {
    return kind === "grad" ? levelOf(sizeOf(scene().number(track, kind, step)), scene().largest(step)) : 0;
  }
  const [now, then] = [step, localStep(state.reference)].map((at) => scene().number(track, kind, at));
  const sizes = [now, then].map((number) => Math.abs(sizeOf(number)) || 0);
  return levelOf(sizeOf(differenceOf(now, then)), Math.max(...sizes));
}
