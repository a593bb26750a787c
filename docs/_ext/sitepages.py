"""The extension of Sphinx that puts the site together: what stands where, and the pages that are generated.

The pages of this folder are plain Markdown that is readable where it lies. What only the site needs, its
table of contents and links that lead elsewhere there, is added here while a page is read.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import examplepages
import oppages
import referencepages
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

import gradviz

SECTIONS = {
    "Learn": ["quickstart", "tutorial/index"],
    "How to": [
        *("drawing", "animations", "pytorch", "from-torchviz", "notebooks", "sphinx", "tracing", "report", "plots"),
        *(
            "comparing",
            "health",
            "debugger",
            "finding-faults",
            "live",
            "editors",
            "folding",
            "large-graphs",
            "compiling",
        ),
        "recipes",
    ],
    "Gallery": ["gallery/operations/index", "gallery/examples/index"],
    "Reference": ["reference/index", "reference/command-line", "engine", "operations", "errors"],
    "Background": ["how-it-works", "peers", "benchmarks", "reliability", "changelog"],
}
MORE = "How to"  # where a page goes that nobody has sorted
EXAMPLE = re.compile(r"\]\((?:\.\./)+examples/(\w+)\.py\)")
EXAMPLES = re.compile(r"\]\((?:\.\./)+examples/?\)")
TAIL = re.compile(
    r"(^```pycon\n(?:(?!```).*\n)*?.+)\n\n```$", re.MULTILINE
)  # doctest needs the empty line, nobody else
NAME = re.compile(r"gradviz\.(\w+)\b(?!\.)")
REACH = {
    "body": [("<pre>", '<pre tabindex="0">'), ('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper')],
    "furo_navigation_tree": [('role="heading"', 'role="heading" aria-level="2"')],
}
PAGES: tuple[Callable[[Path], dict[str, str]], ...] = (oppages.pages, examplepages.pages, referencepages.pages)


def contents(folder: Path) -> str:
    """Return the tables of contents of the site, one for each section, as they stand at the end of the first page."""
    there = {path.relative_to(folder).with_suffix("").as_posix() for path in documents(folder)}
    known = {name for names in SECTIONS.values() for name in names}
    new = sorted(name for name in there - known - {"index"} if "/" not in name)
    blocks = []
    for title, names in SECTIONS.items():
        listed = [name for name in names if name in there] + (new if title == MORE else [])
        blocks.append("\n".join(["```{toctree}", ":hidden:", f":caption: {title}", "", *listed, "```"]))
    return "\n\n".join(blocks) + "\n"


def documents(folder: Path) -> list[Path]:
    """Return every page there is, written or generated."""
    return [path for path in sorted(folder.rglob("*")) if path.suffix in {".md", ".rst"} and "_ext" not in path.parts]


def generate(app: Sphinx) -> None:
    """Write the generated pages, those that have changed; remove what is no longer one."""
    folder = Path(app.srcdir)
    made = {folder / name: text for make in PAGES for name, text in make(folder).items()}
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in documents(folder):
        if path.relative_to(folder).parts[0] in {"gallery", "reference"} and path not in made:
            path.unlink()


def adapt(app: Sphinx, name: str, source: list[str]) -> None:
    """Add contents, end sessions without an empty line, and lead links to examples to their pages."""
    text = EXAMPLE.sub(r"](/gallery/examples/\1.md)", source[0])
    text = EXAMPLES.sub("](/gallery/examples/index.md)", text)
    text = TAIL.sub(r"\1\n```", text)
    folder = Path(app.srcdir)
    if name == "index":
        text += "\n" + contents(folder)
    if name == "tutorial/index":
        chapters = [path.stem for path in sorted((folder / "tutorial").glob("*.md")) if path.stem != "index"]
        text += "\n".join(["", "```{toctree}", ":hidden:", "", *chapters, "```", ""])
    source[0] = text


def always(*_given: Any) -> list[str]:
    """Return the pages to read at every build: those with contents, since others may have come or gone."""
    return ["index", "tutorial/index"]


def is_linked(node: nodes.Node) -> bool:
    """Tell whether a piece of text is a part of a link already."""
    while node is not None and not isinstance(node, nodes.reference | pending_xref):
        node = node.parent
    return node is not None


def link(app: Sphinx, doctree: nodes.document) -> None:
    """Lead code such as ``gradviz.draw(...)`` in a page to the reference of that name."""
    for code in [*doctree.findall(nodes.literal)]:
        found = NAME.match(code.astext())
        if not found or found[1] not in gradviz.__all__ or is_linked(code):
            continue
        target = {"refdomain": "py", "reftype": "obj", "reftarget": f"gradviz.{found[1]}", "refexplicit": True}
        link = pending_xref("", code.deepcopy(), **target, refdoc=app.env.current_document.docname)
        code.replace_self(link)


def reach(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    """Let the keyboard reach what scrolls by itself, and say how deep the headings of the contents are."""
    for key, changes in REACH.items():
        for old, new in changes:
            context[key] = context.get(key, "").replace(old, new)


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx about it."""
    app.connect("builder-inited", generate)
    app.connect("env-get-outdated", always)
    app.connect("source-read", adapt)
    app.connect("doctree-read", link)
    app.connect("html-page-context", reach, priority=900)  # after the theme
    app.connect("autodoc-process-docstring", referencepages.as_rst)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
