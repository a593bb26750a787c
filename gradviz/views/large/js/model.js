// The graph as columns of numbers: undone from what gradviz.views.large.data has packed.

const model = {};
const KINDS = ["none", "number", "array"];

async function readModel() {
  const data = JSON.parse(byId("data").textContent);
  const columns = {};
  for (const [name, text] of Object.entries(data.columns)) columns[name] = await unpackWhole(text);
  Object.assign(model, data, { columns });
  model.names = await unpackLines(data.names);
  model.labels = (await unpackLines(data.labels)).map((label, node) => label || model.names[node]);
  model.scopes = await readScopes(data.scopes);
  model.routes = {};
  for (const [name, text] of Object.entries(data.routes)) model.routes[name] = await unpackWhole(text);
  model.values = await readNumbers(data.values);
  model.grads = await readNumbers(data.grads);
  model.src = new Int32Array(columns.back.length);
  model.dst = new Int32Array(columns.back.length);
  for (let node = 0, edge = 0; node < data.count; node += 1) {
    for (; edge < columns.inputs[node]; edge += 1) {
      model.dst[edge] = node;
      model.src[edge] = node - columns.back[edge];
    }
  }
  model.users = grouped(model.src, data.count);
  model.widest = columns.width.reduce((most, width) => Math.max(most, width), 0);
}

// Which places hold each of `count` keys: those of key k are list[starts[k]] to list[starts[k + 1] - 1].
function grouped(keys, count) {
  const starts = new Int32Array(count + 1);
  for (const key of keys) if (key >= 0) starts[key + 1] += 1;
  for (let i = 0; i < count; i += 1) starts[i + 1] += starts[i];
  const next = starts.slice();
  const list = new Int32Array(starts[count]);
  for (let i = 0; i < keys.length; i += 1) if (keys[i] >= 0) list[next[keys[i]]++] = i;
  return { starts, list };
}

const members = ({ starts, list }, key) => list.subarray(starts[key], starts[key + 1]);

async function readScopes(data) {
  const [names, parents, boxes] = [await unpackLines(data.names), await unpackWhole(data.parents), await unpackWhole(data.boxes)];
  const count = names.length;
  const [left, top, width, height] = [0, 1, 2, 3].map((side) => boxes.subarray(side * count, (side + 1) * count));
  const inside = new Int32Array(count);
  for (const scope of model.columns.scope) inside[scope] += 1;
  const depth = new Int32Array(count);
  for (let i = 1; i < count; i += 1) depth[i] = depth[parents[i]] + 1;
  for (let i = count - 1; i > 0; i -= 1) inside[parents[i]] += inside[i];
  return { count, names, parents, left, top, width, height, inside, depth, children: grouped(parents, count) };
}

async function readNumbers(data) {
  const [kinds, arrays] = [await unpackWhole(data.kinds), await unpackLines(data.arrays)];
  const floats = data.floats ? await unpackNumbers(data.floats, kinds.length) : new Float64Array(0);
  const place = new Int32Array(kinds.length);
  for (let i = 0, next = 0; i < kinds.length; i += 1) if (KINDS[kinds[i]] === "array") place[i] = next++;
  return { kinds, floats, arrays, place };
}

function numberText({ kinds, floats, arrays, place }, node) {
  const kind = KINDS[kinds[node]];
  if (kind === "none") return "";
  if (kind === "array") return arrays[place[node]];
  const x = floats[node];
  return Object.is(x, -0) ? "-0" : Number.isFinite(x) || Number.isNaN(x) ? String(x) : x > 0 ? "inf" : "-inf";
}

const scopePath = (scope) => (scope > 0 ? [...scopePath(model.scopes.parents[scope]), model.scopes.names[scope]] : []);
const nodeBox = (node) => [model.columns.left[node], model.columns.top[node], model.columns.width[node], model.height];
const scopeBox = (scope) => ["left", "top", "width", "height"].map((side) => model.scopes[side][scope]);
const countText = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
