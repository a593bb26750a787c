// Start: read the graph, show it whole, and take away what stood in its place.

async function start() {
  await readModel();
  readColours();
  places.update();
  byId("app").hidden = false;
  byId("still").hidden = true;
  startPointer((found) => choose(found, true), ({ node, scope }) => { if (node < 0) toggle(scope); });
  startSearch();
  startDepth();
  startBad();
  byId("zoom").append(button("−", "Zoom out", () => view.zoom(1 / 1.3)), button("+", "Zoom in", () => view.zoom(1.3)), button("Fit", "Show the whole graph", () => view.fit()));
  document.addEventListener("keydown", key);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); tiles.clear(); view.draw(); });
  view.fit();
  const wanted = /^#n(\d+)$/.exec(location.hash);
  if (wanted && Number(wanted[1]) < model.count) choose({ node: Number(wanted[1]) });
  document.documentElement.dataset.ready = "true";
}

start().catch((error) => {
  byId("failed").textContent = `This browser cannot show the whole graph (${error.message}); here is its summary.`;
});
