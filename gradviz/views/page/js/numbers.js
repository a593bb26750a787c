// Numbers in words, as gradviz.style.wording writes them.

const STEPS_OF_COLOUR = [[0.5, 4], [0.1, 3], [0.01, 2]];

const withoutZeros = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);

function formatNumber(x, precision = data.precision) {
  if (Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  if (x === 0) return Object.is(x, -0) ? "-0" : "0";
  if (Number.isInteger(x) && Math.abs(x) < 1e6) return String(x);
  const [digits, power] = x.toExponential(precision - 1).split("e");
  const exponent = Number(power);
  if (exponent < -4 || exponent >= precision) return `${withoutZeros(digits)}e${exponent}`;
  return withoutZeros(x.toFixed(Math.max(0, precision - 1 - exponent)));
}

const formatChange = (x, precision = data.precision) => (x > 0 ? "+" : "") + formatNumber(x, precision);
const formatCount = (count) => count.toLocaleString("en-US");

// At most `widest` characters: fewer digits, where that is what it takes.
function fitted(write, widest) {
  for (let precision = Math.min(data.precision, 17); precision > 1; precision -= 1) {
    const text = write(precision);
    if (text.length <= widest) return text;
  }
  return write(1);
}

function formatArray(elements, shape, write) {
  let parts = Array.from(elements, write);
  for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
    const size = shape[axis];
    const groups = [];
    for (let start = 0; start < parts.length; start += size) groups.push(`[${parts.slice(start, start + size).join(", ")}]`);
    parts = groups;
  }
  return parts[0] || "[]";
}

// The colour level, -4 to 4, of a gradient beside the largest one in the picture.
function levelOf(size, largest) {
  if (!size || !Number.isFinite(size)) return 0;
  const share = largest ? Math.abs(size) / largest : 0;
  const found = STEPS_OF_COLOUR.find(([least]) => share >= least);
  return (found ? found[1] : 1) * Math.sign(size);
}

const levelName = (level) => (level < 0 ? `n${-level}` : level > 0 ? `p${level}` : "0");

// -- a number is {form: "scalar" | "full" | "sum" | "none", ...}; see Scene.number

function extent(elements) {
  let low = Infinity;
  let high = -Infinity;
  let sum = 0;
  let nans = 0;
  let infs = 0;
  for (const x of elements) {
    if (Number.isNaN(x)) nans += 1;
    else if (!Number.isFinite(x)) infs += 1;
    else {
      low = Math.min(low, x);
      high = Math.max(high, x);
      sum += x;
    }
  }
  const finite = elements.length - nans - infs;
  return finite ? { low, high, mean: sum / finite, nans, infs } : { low: NaN, high: NaN, mean: NaN, nans, infs };
}

const extentOf = (number) => (number.form === "full" ? extent(number.elements) : number);

function isBad(number) {
  if (number.form === "none") return false;
  if (number.form === "scalar") return !Number.isFinite(number.x);
  const { nans, infs } = extentOf(number);
  return nans + infs > 0;
}

// How large a gradient is, with the sign of its sum; NaN if nothing is known.
function sizeOf(number) {
  if (number.form === "none") return NaN;
  if (number.form === "scalar") return number.x;
  const { low, high, mean, norm } = extentOf(number);
  if (Number.isNaN(low)) return number.form === "sum" && number.summedOnly ? norm : NaN;
  const size = Math.max(Math.abs(low), Math.abs(high));
  return mean < 0 || Object.is(mean, -0) ? -size : size;
}

function rangeText(number, write) {
  const { low, high, norm } = extentOf(number);
  if (number.size === 0) return "empty";
  if (number.onlyMean) return `mean ${write(number.mean)}`;
  if (Number.isNaN(low)) return number.summedOnly && !Number.isNaN(norm) ? `‖${write(norm)}‖` : "nothing finite";
  return write(low) === write(high) ? `all ${write(low)}` : `${write(low)} … ${write(high)}`;
}

function badText(number) {
  const { nans, infs } = extentOf(number);
  return [[nans, "NaN"], [infs, "inf"]].filter(([count]) => count).map(([count, what]) => `${count} ${what}`).join(", ");
}

function differenceOf(now, then) {
  if (now.form === "none" || then.form === "none" || now.form !== then.form) return { form: "none" };
  if (now.form === "scalar") return { form: "scalar", x: now.x - then.x };
  if (now.form === "full") return { ...now, elements: now.elements.map((x, i) => x - then.elements[i]) };
  const mean = now.mean - then.mean;
  const both = now.cells && then.cells && now.cells.map((cell, i) => (cell === null || then.cells[i] === null ? null : cell - then.cells[i]));
  return { ...now, cells: both, mean, low: mean, high: mean, norm: now.norm - then.norm, onlyMean: !now.summedOnly };
}
