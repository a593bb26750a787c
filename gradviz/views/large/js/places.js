// What is where: a grid over the picture finds the nodes and edges in a box, and closed scopes hide what is in them.

const places = { closed: new Set() };
const IN_A_CELL = 24;
const STUB = 8; // points

// Work out which scope hides each node, and lay the grid anew.
places.update = () => {
  const { scopes, columns, count } = model;
  const hider = places.hider = new Int32Array(scopes.count).fill(-1);
  for (let scope = 1; scope < scopes.count; scope += 1) {
    const outer = hider[scopes.parents[scope]];
    hider[scope] = outer >= 0 ? outer : places.closed.has(scope) ? scope : -1;
  }
  const [width, height] = model.size;
  places.cell = Math.max(80, Math.sqrt((width * height * IN_A_CELL) / Math.max(1, count)));
  places.across = Math.ceil(width / places.cell) + 1;
  places.down = Math.ceil(height / places.cell) + 1;
  const cells = new Int32Array(count);
  for (let node = 0; node < count; node += 1) {
    const hidden = hider[columns.scope[node]] >= 0;
    cells[node] = hidden ? -1 : cellAt(columns.left[node], columns.top[node]);
  }
  places.nodes = grouped(cells, places.across * places.down);
  places.layEdges();
};

const clamp = (x, most) => Math.max(0, Math.min(most, x));
const cellAt = (x, y) => clamp(Math.floor(y / places.cell), places.down - 1) * places.across + clamp(Math.floor(x / places.cell), places.across - 1);

// Short edges are in the cell of their middle, stubs in that of their end, long edges in a list of their own.
places.layEdges = () => {
  const edges = model.src.length;
  const { columns, routes } = model;
  for (const side of ["x1", "y1", "x2", "y2"]) places[side] = new Float32Array(edges); // of both ends
  places.route = new Int32Array(edges).fill(-1);
  routes.edges.forEach((edge, place) => { places.route[edge] = place; });
  const { x1, y1, x2, y2 } = places;
  const cells = new Int32Array(edges);
  const long = [];
  for (let edge = 0; edge < edges; edge += 1) {
    const [from, to] = [places.hider[columns.scope[model.src[edge]]], places.hider[columns.scope[model.dst[edge]]]];
    if (from >= 0 && from === to) { cells[edge] = -1; continue; }
    place(edge, from, to);
    if (columns.stub[edge]) {
      cells[edge] = cellAt(x2[edge], y2[edge]);
      continue;
    }
    const [across, down] = [x2[edge] - x1[edge], y2[edge] - y1[edge]];
    const short = places.route[edge] < 0 && Math.max(Math.abs(across), Math.abs(down)) < places.cell;
    cells[edge] = short ? cellAt(x1[edge] + across / 2, y1[edge] + down / 2) : -1;
    if (!short) long.push(edge);
  }
  places.edges = grouped(cells, places.across * places.down);
  places.long = Int32Array.from(long);
};

function place(edge, from, to) {
  const { x1, y1, x2, y2 } = places;
  const [left, top, width, height] = from >= 0 ? scopeBox(from) : nodeBox(model.src[edge]);
  x1[edge] = left + width;
  y1[edge] = top + height / 2;
  const end = to >= 0 ? scopeBox(to) : nodeBox(model.dst[edge]);
  x2[edge] = end[0];
  y2[edge] = end[1] + end[3] / 2;
}

function* cellsIn([left, top, right, bottom], around) {
  const [x1, y1] = [clamp(Math.floor((left - around) / places.cell), places.across - 1), clamp(Math.floor((top - around) / places.cell), places.down - 1)];
  const [x2, y2] = [clamp(Math.floor((right + around) / places.cell), places.across - 1), clamp(Math.floor((bottom + around) / places.cell), places.down - 1)];
  for (let y = y1; y <= y2; y += 1) for (let x = x1; x <= x2; x += 1) yield y * places.across + x;
}

// Call `visit` with every node in a box that no closed scope hides.
places.eachNode = (box, visit) => {
  const { left, top, width } = model.columns;
  for (const cell of cellsIn(box, model.widest)) {
    for (const node of members(places.nodes, cell)) {
      if (left[node] <= box[2] && left[node] + width[node] >= box[0] && top[node] <= box[3] && top[node] + model.height >= box[1]) visit(node);
    }
  }
};

// Call `visit` with every edge that may be seen in a box; `shortest` leaves out those that are shorter.
places.eachEdge = (box, shortest, visit) => {
  const { x1, y1, x2, y2 } = places;
  const { columns, routes } = model;
  if (shortest < places.cell) {
    for (const cell of cellsIn(box, places.cell)) {
      for (const edge of members(places.edges, cell)) {
        const length = columns.stub[edge] ? STUB : Math.abs(x2[edge] - x1[edge]) + Math.abs(y2[edge] - y1[edge]);
        if (length >= shortest) visit(edge);
      }
    }
  }
  const room = 12;
  for (const edge of places.long) {
    let [low, high] = y1[edge] < y2[edge] ? [y1[edge], y2[edge]] : [y2[edge], y1[edge]];
    let [left, right] = x1[edge] < x2[edge] ? [x1[edge], x2[edge]] : [x2[edge], x1[edge]];
    const route = places.route[edge];
    if (route >= 0) {
      for (let at = routes.starts[route]; at < routes.starts[route + 1]; at += 1) {
        [low, high] = [Math.min(low, routes.y[at]), Math.max(high, routes.y[at])];
        [left, right] = [Math.min(left, routes.x[at]), Math.max(right, routes.x[at])];
      }
    } else if (x2[edge] < x1[edge]) {
      const bend = (x1[edge] - x2[edge]) / 2;
      [left, right] = [left - bend, right + bend];
    }
    if (left - room <= box[2] && right + room >= box[0] && low <= box[3] && high >= box[1]) visit(edge);
  }
};

// Call `visit` with the scopes in a box, outer ones first, down to closed ones and those too small to be seen.
places.eachScope = (box, smallest, visit) => {
  const { scopes } = model;
  const waiting = [0];
  while (waiting.length) {
    const scope = waiting.pop();
    if (scope) visit(scope);
    if (places.closed.has(scope)) continue;
    for (const child of members(scopes.children, scope)) {
      const [left, top] = [scopes.left[child], scopes.top[child]];
      if (scopes.height[child] < smallest || left > box[2] || top > box[3]) continue;
      if (left + scopes.width[child] >= box[0] && top + scopes.height[child] >= box[1]) waiting.push(child);
    }
  }
};

// What lies at a point: a node, else the innermost scope that is seen there.
places.at = (x, y) => {
  let found = { node: -1, scope: 0 };
  places.eachScope([x, y, x, y], 0, (scope) => { found.scope = scope; });
  places.eachNode([x, y, x, y], (node) => { found.node = node; });
  return found;
};
