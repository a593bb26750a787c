"use strict";
// A cursor on every chart: the pointer or the arrow keys choose a step, and what both runs had there is told.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  function places(line) {
    return line.getAttribute("points").trim().split(/\s+/).map((pair) => pair.split(",").map(Number));
  }

  function nearest(points, x) {
    let best = 0;
    points.forEach((point, i) => { if (Math.abs(point[0] - x) < Math.abs(points[best][0] - x)) best = i; });
    return best;
  }

  function told(series, step) {
    const at = series.steps.indexOf(step);
    return at < 0 ? "nothing" : series.texts[at];
  }

  function prepare(figure, chart) {
    const svg = figure.querySelector("svg");
    const lines = chart.map((series) => svg.querySelector(`polyline.${series.role}`));
    const points = lines.map((line) => (line ? places(line) : []));
    const longest = points[0].length >= (points[1] || []).length ? 0 : 1;
    const said = document.createElement("output");
    const cursor = document.createElementNS(svg.namespaceURI, "line");
    let at = -1;
    cursor.setAttribute("class", "cursor");
    figure.append(said);
    figure.tabIndex = 0;
    svg.append(cursor);

    function show(i) {
      at = Math.max(0, Math.min(points[longest].length - 1, i));
      const [x] = points[longest][at];
      const step = chart[longest].steps[at];
      for (const [name, value] of Object.entries({ x1: x, x2: x, y1: 34, y2: 294 })) cursor.setAttribute(name, value);
      said.textContent = `step ${step}: ` + chart.map((series) => `${series.name} ${told(series, step)}`).join(", ");
    }

    function point(event) {
      const box = svg.getBoundingClientRect();
      show(nearest(points[longest], ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width));
    }

    function key(event) {
      const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: points[longest].length - 1 };
      if (!(event.key in moves)) return;
      event.preventDefault();
      show(moves[event.key]);
    }

    svg.addEventListener("pointermove", point);
    svg.addEventListener("pointerdown", point);
    figure.addEventListener("keydown", key);
  }

  for (const figure of document.querySelectorAll(".graphs figure")) {
    const node = figure.querySelector(".gv-highlighted");
    if (!node) continue;
    const [box, frame] = [node.getBoundingClientRect(), figure.getBoundingClientRect()];
    figure.scrollLeft = box.left - frame.left - (frame.width - box.width) / 2;
  }

  for (const figure of document.querySelectorAll("figure[data-chart]")) {
    prepare(figure, data.charts[Number(figure.dataset.chart)]);
  }
})();
