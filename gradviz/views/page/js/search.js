// Looking for a node by its name, its scope or its op.

const FOUND = 40;
const search = byId("search");

function startSearch() {
  search.field = make("input", { type: "text", id: "wanted", placeholder: "name, scope or op", "aria-label": "Search for a node", role: "combobox", "aria-expanded": "true", "aria-controls": "found", autocomplete: "off", spellcheck: "false" });
  search.list = make("ul", { id: "found", role: "listbox", "aria-label": "Nodes" });
  search.append(search.field, search.list);
  search.field.addEventListener("input", () => listFound());
  search.addEventListener("keydown", searchKey);
  search.addEventListener("click", (event) => { if (event.target === search) search.close(); });
  byId("open-search").addEventListener("click", openSearch);
}

function openSearch() {
  if (!scene() || search.open) return;
  search.field.value = "";
  search.showModal();
  listFound();
  search.field.focus();
}

function matches(words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const all = scene().nodes.map((node, id) => ({ node, id, text: [...node.scope, node.title, node.op].join(" ").toLowerCase() }));
  const rank = ({ node }) => (node.title.toLowerCase().startsWith(wanted[0] || "") ? 0 : 1);
  return all.filter(({ text }) => wanted.every((word) => text.includes(word))).sort((one, other) => rank(one) - rank(other) || one.id - other.id);
}

function listFound(chosen = 0) {
  search.found = matches(search.field.value);
  search.chosen = Math.max(0, Math.min(search.found.length, FOUND) - 1 < chosen ? 0 : chosen);
  const items = search.found.slice(0, FOUND).map(({ node, id }, place) => {
    const item = make("li", { role: "option", id: `found-${place}`, "aria-selected": String(place === search.chosen), class: "option" },
      make("b", {}, node.title), make("span", { class: "quiet" }, [node.op === node.kind ? "" : node.op, node.type, node.scope.join(" / ")].filter(Boolean).join(" · ")));
    item.addEventListener("click", () => choose(id));
    return item;
  });
  const more = search.found.length - items.length;
  if (more > 0) items.push(make("li", { class: "quiet", role: "presentation" }, `and ${formatCount(more)} more`));
  if (!items.length) items.push(make("li", { class: "quiet", role: "presentation" }, "nothing of that name"));
  search.list.replaceChildren(...items);
  if (search.found.length) search.field.setAttribute("aria-activedescendant", `found-${search.chosen}`);
  else search.field.removeAttribute("aria-activedescendant");
}

function choose(id) {
  search.close();
  reveal(id);
  const place = viewShown().places[id];
  if (place !== null) focusCard(place, true);
}

function searchKey(event) {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const most = Math.min(search.found.length, FOUND);
  if (by && most) {
    listFound((search.chosen + by + most) % most);
    byId(`found-${search.chosen}`)?.scrollIntoView({ block: "nearest" });
  } else if (event.key === "Enter" && search.found[search.chosen]) choose(search.found[search.chosen].id);
  else return;
  event.preventDefault();
}
