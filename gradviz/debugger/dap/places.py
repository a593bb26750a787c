"""The sources that a run has recorded: which lines there are, where the client has them, and their text.

No file that a trace names is opened. One is looked for only below the folders that the client names; of any other
the client is given a number by which it can ask for the lines that were recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from gradviz.debugger.timeline import RunTimeline, Timeline
from gradviz.escape import clean
from gradviz.graphs import Graph, Source

__all__ = ["Places", "graphs_of"]

LONGEST = 200_000  # lines of a source made of what was recorded
ABSOLUTE = re.compile(r"/|[A-Za-z]:|file:")


def graphs_of(timeline: Timeline) -> Sequence[Graph]:
    """Return every graph of a history, each once."""
    if isinstance(timeline, RunTimeline):
        return timeline.run.graphs
    graphs = (timeline.steps(i).full.graph for i in timeline.iterations)
    return tuple({graph.fingerprint(): graph for graph in graphs}.values())


class Places:
    r"""The files of the graphs with the lines that made their nodes.

    >>> from gradviz.graphs import Node
    >>> w = Node(0, "w", "param", "param", source=Source("src/line.py", 3, 4, 7, text="W()", code="w = W()"))
    >>> places = Places([Graph((w,), (0,))])
    >>> places.find("/home/src/line.py"), places.content("src/line.py")
    ('src/line.py', '\n\nw = W()\n')
    """

    def __init__(self, graphs: Iterable[Graph]) -> None:
        self._lines: dict[str, dict[int, str]] = {}
        for graph in graphs:
            for node in graph.nodes:
                if node.source is not None:
                    self._lines.setdefault(node.source.file, {}).setdefault(node.source.line, _line(node.source))
        self._files = list(self._lines)
        self._known_as: dict[str, str] = {}  # recorded file -> where the client has it
        self._roots: Sequence[Path] = ()

    def look_in(self, roots: Iterable[str]) -> None:
        """Take folders at the client: what was recorded with a path relative to one of them is there."""
        self._roots = [Path(root).absolute() for root in roots]
        for file in self._files:
            for root in self._roots:
                inside = _inside(file, root)
                if inside and file not in self._known_as and (root / inside).is_file():
                    self._known_as[file] = str(root / inside)

    @property
    def files(self) -> Sequence[str]:
        """The recorded names of the files."""
        return self._files

    def lines(self, file: str) -> Sequence[int]:
        """Return the lines of a file that made nodes, ascending."""
        return sorted(self._lines.get(file, ()))

    def of_number(self, number: int) -> str | None:
        """Return the file of a sourceReference."""
        return self._files[number - 1] if 1 <= number <= len(self._files) else None

    def path(self, file: str) -> str:
        """Return the path of a recorded file at the client; empty if none is known."""
        return self._known_as.get(file, "")

    def described(self, file: str, *, as_uri: bool = False) -> dict[str, Any]:
        """Return a file as the protocol describes sources."""
        name, path = clean(PurePosixPath(_plain(file)).name or file), self.path(file)
        if path:
            return {"name": name, "path": _uri(path) if as_uri else path}
        return {"name": name, "sourceReference": self._files.index(file) + 1, "origin": "as recorded in the run"}

    def content(self, file: str) -> str:
        """Return the recorded lines of a file, each at its place; the others are empty."""
        known = {line: text for line, text in self._lines[file].items() if 1 <= line <= LONGEST}
        return "".join(f"{known.get(line, '')}\n" for line in range(1, max(known, default=0) + 1))

    def find(self, path: str) -> str | None:
        """Return the recorded file that is the client's file of this path; None if it is none of them.

        It is known to be there, or was recorded with the end of this path; from then on the client is given its own
        path for it.
        """
        path = _from_uri(path)
        known = [file for file, there in self._known_as.items() if _plain(there) == _plain(path)]
        ends = (file for file in self._files if file not in self._known_as)
        found = known or [file for file in ends if f"/{_plain(path)}".endswith(f"/{_plain(file)}")]
        if not found:
            return None
        chosen = max(found, key=len)
        self._known_as[chosen] = path
        return chosen

    def namesakes(self, path: str) -> list[str]:
        """Return the recorded files that have the name of this one, in whatever folder."""
        name = _plain(_from_uri(path)).rpartition("/")[2]
        return [file for file in self._files if _plain(file).rpartition("/")[2] == name]


def _line(source: Source) -> str:
    """Return the recorded line, indented as it was where its column tells."""
    text = source.code or source.text
    place = text.find(source.text) if source.text else -1
    indent = max(0, min((source.column or 0) - place, 200)) if place >= 0 else 0
    return " " * indent + clean(text, 2000)


def _inside(file: str, root: Path) -> str:
    """Return the path of a recorded file below a folder; empty if it cannot be there.

    >>> _inside("src/a.py", Path("/home")), _inside("/home/a.py", Path("/home")), _inside("../a.py", Path("/home"))
    ('src/a.py', 'a.py', '')
    """
    file, start = _plain(file), f"{_plain(str(root))}/"
    relative = file.removeprefix(start)
    is_safe = relative and not ABSOLUTE.match(relative) and ".." not in relative.split("/")
    return relative if is_safe and clean(relative, None) == relative else ""


def _plain(path: str) -> str:
    r"""Return a path for comparing.

    >>> _plain("c:\\work\\a.py")
    'C:/work/a.py'
    """
    path = path.replace("\\", "/")
    return path[:1].upper() + path[1:] if path[1:2] == ":" else path


def _uri(path: str) -> str:
    path = _plain(path)
    return "file://" + quote(path if path.startswith("/") else f"/{path}", safe="/:")


def _from_uri(path: str) -> str:
    if not path.startswith("file://"):
        return path
    found = unquote(urlsplit(path).path)
    return found[1:] if re.match(r"/[A-Za-z]:", found) else found
