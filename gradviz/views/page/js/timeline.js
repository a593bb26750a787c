// The steps: slider, play, speed, the step to compare with, and the curves that are the time axis.

const SPEEDS = [2, 5, 10, 20, 50];
const FIRST_CURVES = 6;
const timeline = { charts: [], speed: 10 };

function startTimeline() {
  const last = data.steps.length - 1;
  timeline.slider = make("input", { type: "range", min: 0, max: last, step: 1, "aria-label": "Step", id: "slider" });
  timeline.slider.addEventListener("input", () => change({ place: Number(timeline.slider.value), playing: false }));
  timeline.play = button("▶", "Play", togglePlay, { id: "play", class: "round" });
  timeline.label = make("output", { class: "step", for: "slider" });
  timeline.speed = make("select", { "aria-label": "Steps a second", id: "speed" },
    ...SPEEDS.map((speed) => make("option", { value: speed, selected: speed === 10 }, `${speed}/s`)));
  byId("controls").append(
    timeline.play,
    button("‹", "One step back", () => move(-1), { id: "back" }),
    button("›", "One step on", () => move(1), { id: "forward" }),
    timeline.label, timeline.slider, timeline.speed, compareControl());
  startCharts();
}

const move = (by) => change({ place: state.place + by, playing: false });

// -- playing

function togglePlay() {
  const atEnd = state.place >= data.steps.length - 1;
  change(state.playing ? { playing: false } : { playing: true, ...(atEnd ? { place: 0 } : {}) });
}

function tick(now) {
  if (!state.playing) return;
  const due = 1000 / Number(timeline.speed.value);
  if (now - timeline.since >= due) {
    timeline.since = now;
    if (state.place >= data.steps.length - 1) change({ playing: false });
    else change({ place: state.place + 1 });
  }
  requestAnimationFrame(tick);
}

// -- comparing

function compareControl() {
  timeline.compare = button("Compare", "Compare with another step", toggleCompare, { id: "compare", "aria-pressed": "false" });
  timeline.reference = make("input", { type: "number", id: "reference", "aria-label": "Step to compare with", min: data.steps[0], max: data.steps[data.steps.length - 1] });
  timeline.reference.addEventListener("change", () => change({ reference: nearestPlace(Number(timeline.reference.value)) }));
  timeline.against = make("span", { class: "against", hidden: true }, make("span", {}, "with step"), timeline.reference);
  return make("span", { class: "compare" }, timeline.compare, timeline.against);
}

// Compare with where we are now; the next step shows what has changed since.
const toggleCompare = () => change({ reference: state.reference >= 0 ? -1 : state.place });

// -- curves

function startCharts() {
  const findings = data.findings.filter((found) => found.step !== null).map((found) => ({ step: found.step, look: found.severity, text: `${found.rule}: ${found.message}` }));
  const events = data.events.filter((event) => event.marked).map((event) => ({ step: event.step, look: "event", text: event.text }));
  timeline.charts.push(new Chart({
    title: "Loss",
    steps: data.loss.steps,
    series: [{ title: "loss", values: data.loss.values, colour: 0, on: true }],
    marks: [...events, ...findings],
    log: spreads(data.loss.values, 50),
    describe: () => readout(data.losses),
  }));
  for (const [title, kind] of [["Parameters", "value"], ["Gradients", "grad"]]) {
    if (data.curves.some((curve) => curve[kind].some(Number.isFinite))) timeline.charts.push(parameterChart(title, kind));
  }
  byId("charts").append(...timeline.charts.map((chart) => chart.element));
}

const spreads = (values, times) => {
  const sizes = values.filter((y) => Number.isFinite(y));
  const low = sizes.reduce((least, y) => Math.min(least, y), Infinity);
  return low > 0 && sizes.reduce((most, y) => Math.max(most, y), 0) / low > times;
};

function readout(values) {
  const now = formatNumber(values[state.place], 5);
  return state.reference < 0 ? now : `${now} (${formatChange(values[state.place] - values[state.reference])})`;
}

// The parameters that move most are shown first; a norm stands for an array.
function parameterChart(title, kind) {
  const chosen = new Set([...data.curves].sort((one, other) => other.moved - one.moved).slice(0, FIRST_CURVES));
  const arrays = data.curves.every((curve) => curve.shape.length);
  const series = data.curves.map((curve, place) => ({
    title: curve.shape.length && !arrays ? `‖${curve.title}‖` : curve.title,
    values: kind === "grad" && !curve.shape.length ? curve.grad : curve[kind],
    colour: place % 6,
    on: chosen.has(curve),
    dashed: true,
  }));
  const allValues = series.filter((one) => one.on).flatMap((one) => one.values);
  return new Chart({
    title: arrays ? `${title} (norms)` : title,
    steps: data.steps,
    series,
    log: kind === "grad" && spreads(allValues, 50),
    describe: (chart) => (chart.series.length === 1 ? readout(chart.series[0].values) : ""),
  });
}

// -- following the state

function renderTimeline(changed) {
  const step = data.steps[state.place];
  timeline.slider.value = state.place;
  timeline.slider.setAttribute("aria-valuetext", `step ${step}`);
  timeline.label.replaceChildren(make("b", {}, `step ${step}`), make("span", {}, ` of ${data.steps[data.steps.length - 1]}`));
  if (changed.has("reference")) renderCompare();
  if (changed.has("playing")) renderPlaying();
  timeline.charts.forEach((chart) => chart.cursor());
  if (changed.has("place") && !state.playing) say(`Step ${step}, loss ${formatNumber(data.losses[state.place])}`);
}

function renderCompare() {
  const on = state.reference >= 0;
  timeline.compare.setAttribute("aria-pressed", String(on));
  timeline.against.hidden = !on;
  document.body.classList.toggle("comparing", on);
  if (on) timeline.reference.value = data.steps[state.reference];
}

function renderPlaying() {
  setText(timeline.play, state.playing ? "❚❚" : "▶");
  timeline.play.setAttribute("aria-label", state.playing ? "Pause" : "Play");
  if (state.playing) {
    timeline.since = performance.now();
    requestAnimationFrame(tick);
  }
}

let saying = 0;
function say(text) {
  clearTimeout(saying);
  saying = setTimeout(() => setText(byId("said"), text), 250);
}

listeners.push(renderTimeline);
