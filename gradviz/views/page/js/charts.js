// Curves over the steps of the run; each is also a time axis: a click or a drag on it moves to that step.

const MARGINS = { left: 52, right: 12, top: 10, bottom: 20 };

class Chart {
  constructor({ title, series, steps, log, marks = [], describe }) {
    Object.assign(this, { title, series, steps, marks, describe });
    this.canLog = series.some((one) => one.values.some((y) => y > 0)) && !series.some((one) => one.values.some((y) => y < 0));
    this.log = log && this.canLog;
    this.readout = make("span", { class: "readout" });
    this.chips = make("div", { class: "chips" });
    this.toggle = button("log", `Logarithmic scale of ${title}`, () => this.setLog(!this.log), { "aria-pressed": String(this.log) });
    this.toggle.hidden = !this.canLog;
    this.plot = draw("svg", { class: "plot", role: "img" });
    this.area = make("div", { class: "area" }, this.plot);
    this.element = make("figure", { class: "chart" },
      make("figcaption", {}, make("span", { class: "head" }, title), this.readout, this.toggle), this.area, this.chips);
    this.listen();
    this.chip();
    new ResizeObserver(() => this.render()).observe(this.area);
  }

  listen() {
    const moveTo = (event) => this.moveTo(event);
    this.area.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      this.area.setPointerCapture(event.pointerId);
      moveTo(event);
      this.area.addEventListener("pointermove", moveTo);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      this.area.addEventListener(name, () => this.area.removeEventListener("pointermove", moveTo));
    }
  }

  moveTo(event) {
    const { left } = this.area.getBoundingClientRect();
    const share = (event.clientX - left - MARGINS.left) / Math.max(1, this.width - MARGINS.left - MARGINS.right);
    const [first, last] = this.span();
    change({ place: nearestPlace(first + share * (last - first)), playing: false });
  }

  setLog(on) {
    this.log = on;
    this.toggle.setAttribute("aria-pressed", String(on));
    this.render();
  }

  // A chip for each curve switches it on and off.
  chip() {
    this.chips.hidden = this.series.length < 2;
    if (this.chips.hidden) return;
    this.chips.append(...this.series.map((one) => {
      one.number = make("span", { class: "quiet" });
      const element = make("button", { type: "button", class: `chip c${one.colour}`, "aria-pressed": String(one.on), title: one.title }, `${shortened(one.title, 24)} `, one.number);
      element.addEventListener("click", () => {
        one.on = !one.on;
        element.setAttribute("aria-pressed", String(one.on));
        this.render();
      });
      return element;
    }));
  }

  span() {
    const [first, last] = [this.steps[0], this.steps[this.steps.length - 1]];
    return first === last ? [first - 1, last + 1] : [first, last];
  }

  place(y) {
    return this.log ? Math.log10(y) : y;
  }

  shownValues() {
    return this.series.filter((one) => one.on).flatMap((one) => one.values.filter((y) => Number.isFinite(y) && (!this.log || y > 0)).map((y) => this.place(y)));
  }

  render() {
    const { width, height } = this.area.getBoundingClientRect();
    if (width < 60 || height < 40) return;
    Object.assign(this, { width, height });
    const values = this.shownValues();
    let low = values.reduce((least, y) => Math.min(least, y), Infinity);
    let high = values.reduce((most, y) => Math.max(most, y), -Infinity);
    if (!values.length) [low, high] = [0, 1];
    const room = 0.06 * (high - low) || 0.5 * Math.abs(low) || 0.5;
    [this.low, this.high] = [low - room, high + room];
    this.plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.plot.setAttribute("aria-label", `${this.title} over ${formatCount(data.total)} steps`);
    this.lines = draw("g", {});
    this.plot.replaceChildren(...this.grid(), ...this.series.filter((one) => one.on).flatMap((one) => this.curve(one)), ...this.marked(), this.lines);
    this.cursor();
  }

  x(step) {
    const [first, last] = this.span();
    return MARGINS.left + ((step - first) / (last - first)) * (this.width - MARGINS.left - MARGINS.right);
  }

  y(value) {
    const share = (this.place(value) - this.low) / (this.high - this.low);
    return this.height - MARGINS.bottom - share * (this.height - MARGINS.top - MARGINS.bottom);
  }

  grid() {
    const across = ticksOf(...this.span(), Math.max(2, this.width / 90)).filter(Number.isInteger);
    const up = this.log ? powersOf(this.low, this.high) : ticksOf(this.low, this.high, Math.max(2, this.height / 32));
    const labels = distinct(up);
    const bottom = this.height - MARGINS.bottom;
    const right = this.width - MARGINS.right;
    return [
      ...across.flatMap((step) => [draw("line", { class: "grid", x1: this.x(step), x2: this.x(step), y1: MARGINS.top, y2: bottom }),
        draw("text", { class: "tick", x: this.x(step), y: bottom + 14, "text-anchor": "middle" }, formatNumber(step, 6))]),
      ...up.flatMap((value, i) => [draw("line", { class: "grid", x1: MARGINS.left, x2: right, y1: this.y(value), y2: this.y(value) }),
        draw("text", { class: "tick", x: MARGINS.left - 6, y: this.y(value) + 3.5, "text-anchor": "end" }, labels[i])]),
    ];
  }

  curve({ values, steps = this.steps, colour, dashed }) {
    let path = "";
    let pen = "M";
    const broken = [];
    values.forEach((y, i) => {
      if (Number.isFinite(y) && (!this.log || y > 0)) {
        path += `${pen}${this.x(steps[i]).toFixed(1)},${this.y(y).toFixed(1)}`;
        pen = "L";
      } else {
        pen = "M";
        if (dashed === undefined && !Number.isFinite(y)) broken.push(this.x(steps[i]));
      }
    });
    const line = draw("path", { class: `curve c${colour}`, d: path || "M0,0" });
    return [line, ...broken.slice(0, 500).map((x) => draw("path", { class: "broken", d: `M${x - 3},${MARGINS.top}l6,6m0,-6l-6,6` }))];
  }

  marked() {
    return this.marks.map(({ step, look, text }) => {
      const x = this.x(step);
      const found = look === "event"
        ? draw("path", { class: "mark event", d: `M${x},${this.height - MARGINS.bottom - 7}l4,4l-4,4l-4,-4z` })
        : draw("path", { class: `mark ${look}`, d: `M${x - 5},${MARGINS.top - 8}h10l-5,9z` });
      found.append(draw("title", {}, text));
      return found;
    });
  }

  // The lines that say where we are, and what we compare with.
  cursor() {
    if (!this.lines) return;
    const line = (place, look) => {
      const x = this.x(data.steps[place]);
      return draw("line", { class: look, x1: x, x2: x, y1: MARGINS.top - 4, y2: this.height - MARGINS.bottom });
    };
    this.lines.replaceChildren(...(state.reference >= 0 ? [line(state.reference, "reference")] : []), line(state.place, "cursor"));
    setText(this.readout, this.describe(this));
    for (const one of this.series) if (one.number) setText(one.number, one.on ? formatNumber(one.values[state.place], 3) : "");
  }
}

function ticksOf(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((size) => size * power).find((size) => size >= rough) || 10 * power;
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i += 1) found.push(Number((i * step).toPrecision(12)));
  return found;
}

// Labels with as few digits as tell the numbers apart.
function distinct(numbers) {
  for (let precision = 3; precision < 9; precision += 1) {
    const labels = numbers.map((x) => formatNumber(x, precision));
    if (new Set(labels).size === labels.length) return labels;
  }
  return numbers.map((x) => formatNumber(x, 9));
}

function powersOf(low, high) {
  const first = Math.ceil(low);
  const count = Math.floor(high) - first + 1;
  if (high - low < 0.7) return ticksOf(10 ** low, 10 ** high, 4).filter((y) => y > 0);
  if (count < 3) return [1, 2, 5].flatMap((digit) => Array.from({ length: count + 2 }, (_, i) => digit * 10 ** (first - 1 + i))).filter((y) => Math.log10(y) >= low && Math.log10(y) <= high).sort((one, other) => one - other);
  const every = Math.ceil(count / 5);
  return Array.from({ length: Math.ceil(count / every) }, (_, i) => 10 ** (first + i * every));
}
