"""`draw`: one picture of a graph, in any format."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from gradviz import escape
from gradviz.errors import GradvizError, GradvizValueError
from gradviz.files import write_atomically
from gradviz.graphs import Frame, Graph
from gradviz.style import Options, as_names
from gradviz.views.arranging import Arrangement
from gradviz.views.cards import as_frame

__all__ = ["SUFFIX", "Drawing", "arranged", "draw", "frame_of"]

SUFFIX = {
    ".svg": "gradviz.views.svg:to_svg",
    ".png": "gradviz.views.raster:to_png",
    ".pdf": "gradviz.views.raster:to_pdf",
    ".html": "gradviz.views.webpage:to_html",
    ".dot": "gradviz.views.drawing:dot_text",
    ".json": "gradviz.views.drawing:json_text",
    ".mmd": "gradviz.views.mermaid:to_mermaid",
    ".tex": "gradviz.views.tikz:to_tikz",
    ".graphml": "gradviz.views.networkx:to_graphml",
    ".txt": "gradviz.views.text:to_text",
    ".py": "gradviz.views.drawing:python_text",
}
TEXT_LINES = 200  # a longer listing is no help in a notebook
FRAME_HEIGHT = 640  # pixels of a page in a notebook


@dataclass(frozen=True, eq=False, repr=False)
class Drawing:
    """A picture: the frame that is drawn (after focus, collapse and fold) and how it looks.

    ``options.highlight`` and ``options.pending`` are ids of nodes of ``frame``; ``origin``
    is the frame as it was handed in; ``opened`` returns the picture with the folds at some paths open.

    >>> from gradviz.graphs import Graph, Node
    >>> picture = Drawing(as_frame(Graph((Node(0, "x", "input", "input"),))))
    >>> picture.dot.splitlines()[0], picture.svg[:4]
    ('digraph {', '<svg')
    """

    frame: Frame
    options: Options = field(default_factory=Options)
    origin: Frame | None = None
    opened: Callable[[Collection[tuple[str, ...]]], Drawing] | None = None

    @cached_property
    def dot(self) -> str:
        """The picture as Graphviz DOT text."""
        from gradviz.views.dot import to_dot

        return to_dot(self.frame, self.options)

    @cached_property
    def svg(self) -> str:
        """The picture as SVG text."""
        from gradviz.views.svg import to_svg

        return to_svg(self)

    def png(self, scale: float = 2.0) -> bytes:
        """Return the picture as PNG, ``scale`` pixels a unit of the SVG."""
        from gradviz.views.raster import to_png

        return to_png(self, scale)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to ``path`` and return the path; the suffix says in which format.

        The picture is complete before the file is touched, so an older file is never half
        overwritten. Raises `GradvizValueError`, listing the suffixes, for one it does not know.

        >>> Drawing(as_frame(Graph(()))).save("graph.bmp")
        Traceback (most recent call last):
            ...
        gradviz.errors.GradvizValueError: no picture format has the suffix '.bmp'
          allowed: .svg .png .pdf .html .dot .json .mmd .tex .graphml .txt .py
        """
        target = Path(path)
        return write_atomically(target, _writer(target.suffix.lower())(self))

    def __repr__(self) -> str:
        from gradviz.views.svg import describe

        return f"<Drawing of {describe(self.frame, replace(self.options, alt=None))}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return what a notebook shows: SVG (of a large graph none) and, for readers without it, text. Never raises."""
        makers = {"image/svg+xml": lambda: self.svg, "text/plain": self._text}
        if self._is_large:
            del makers["image/svg+xml"]
        wanted = [kind for kind in makers if (not include or kind in include) and kind not in (exclude or ())]
        shown, notes = {}, []
        for kind in wanted:
            try:
                shown[kind] = makers[kind]()
            except Exception as error:  # a display that raises hides everything else
                notes.append(f"(not drawn: {escape.for_terminal(_reason(error))})")
        if "text/plain" in wanted and notes:
            shown["text/plain"] = "\n".join([shown.get("text/plain", "<Drawing>"), *notes])
        return shown

    def _repr_html_(self) -> str:
        """Return the picture for a page, as light or dark as that is, or text where there is none. Never raises.

        A large graph is a page to look around in, in a frame of its own.
        """
        from gradviz.views.inline import framed, preformatted, themed

        if self._is_large:
            try:
                return framed(cast("str", _writer(".html")(self)), FRAME_HEIGHT, repr(self))
            except Exception as error:
                return preformatted(f"{self!r}\n(not drawn: {_reason(error)})")
        shown = self._repr_mimebundle_()
        return themed(shown["image/svg+xml"]) if "image/svg+xml" in shown else preformatted(shown["text/plain"])

    @property
    def _is_large(self) -> bool:
        from gradviz.views.svg import MOST

        return len(self.frame.graph) > MOST

    def _text(self) -> str:
        return str(self.frame) if len(self.frame.graph) <= TEXT_LINES else repr(self)


def _reason(error: Exception) -> str:
    if isinstance(error, GradvizError):
        return ": ".join(filter(None, (error.message, error.hint)))
    return f"{type(error).__name__}: {error}"


def _writer(suffix: str) -> Callable[[Drawing], str | bytes]:
    """Return the function that writes a format: ours, or that of an entry point ``gradviz.views``."""
    if suffix in SUFFIX:
        module, function = SUFFIX[suffix].split(":")
        return cast("Callable[[Drawing], str | bytes]", getattr(importlib.import_module(module), function))
    for point in entry_points(group="gradviz.views", name=suffix):
        return cast("Callable[[Drawing], str | bytes]", point.load())
    wrong = f"no picture format has the suffix {suffix[:40]!r}" if suffix else "the file's name has no suffix"
    raise GradvizValueError(wrong, hint=f"allowed: {' '.join(SUFFIX)}")


def python_text(drawing: Drawing) -> str:
    """Return the computation of a drawing, and its gradient, as Python source."""
    from gradviz.sources.python import to_python

    return to_python(drawing.origin or drawing.frame)


def dot_text(drawing: Drawing) -> str:
    """Return the DOT text of a drawing."""
    return drawing.dot


def json_text(drawing: Drawing) -> str:
    """Return the whole frame, as it was handed in, as JSON text."""
    return (drawing.origin or drawing.frame).to_json()


def draw(
    x: Any,
    *,
    show: str | Sequence[str] = ("name", "shape", "value", "grad"),
    style: str = "cards",
    theme: str = "auto",
    direction: str = "LR",
    fold: str | bool = "auto",
    unfold: Any = None,
    collapse: int | None = None,
    focus: Any = None,
    hops: int | None = None,
    highlight: Any = (),
    precision: int = 4,
    engine: str = "auto",
    title: str | None = None,
    alt: str | None = None,
    timeout: float = 30.0,
    params: Mapping[str, Any] | None = None,
) -> Drawing:
    """Return the picture of a Tensor, Frame, Graph, step or run.

    ``show`` takes any of name, shape, value, grad, local (the derivative on each edge),
    source (file and line) and stats. ``style`` is cards, circuit (as in lectures: values above the
    wires, gradients below), paper (for print), boxes or compact; ``theme`` auto
    (light and dark, as the reader's system is), light, dark or print; ``direction`` LR or TB.
    ``focus`` (with ``hops``) draws the part that leads to a node or comes from it and
    ``highlight`` outlines nodes, given by name, by id or as the tensors themselves,
    ``collapse=depth`` closes the scopes below that depth, ``fold`` draws repeated structure once (auto: in
    graphs of more than 60 nodes), ``unfold`` opens folds: all (True), or by the name of a fold, of a node in it,
    of a scope. ``timeout`` is how many seconds Graphviz may take; then (``engine="scope"``: at once) the layout is by
    scope. ``params`` names leaves. Raises `GradvizValueError` for a bad option, `UnknownNameError` for an unknown node.

    >>> from gradviz.graphs import Graph, Node
    >>> x, y = Node(0, "x", "input", "input"), Node(1, "y", "sin", "op", (0,), symbol="sin")
    >>> picture = draw(Frame(Graph((x, y), (1,)), [0.0, 0.0], [1.0, 1.0]), style="boxes")
    >>> picture
    <Drawing of 2 values, 1 operation, y 0>
    """
    from gradviz.sources import node_of

    options = Options(
        show=cast("tuple[str, ...]", show),
        style=style,
        theme=theme,
        direction=direction,
        fold=fold,
        unfold=_nodes(x, unfold),
        collapse=collapse,
        focus=node_of(x, focus),
        hops=hops,
        highlight=(*as_names("highlight", _nodes(x, highlight)), *getattr(x, "highlight", ())),
        pending=tuple(getattr(x, "pending", ())),
        precision=precision,
        engine=engine,
        title=title,
        alt=alt,
        timeout=timeout,
    )
    return arranged(frame_of(x, params), options, keep=getattr(x, "highlight", ()))


def _nodes(x: Any, refs: Any) -> Any:
    """Turn tensors, one or several, into the ids of their nodes; whatever else it is stays."""
    from gradviz.sources import node_of

    return [node_of(x, ref) for ref in refs] if isinstance(refs, list | tuple) else node_of(x, refs)


def frame_of(x: Any, params: Mapping[str, Any] | None = None) -> Frame:
    """Return the frame to draw of anything that can be drawn.

    >>> from gradviz.graphs import Graph
    >>> frame_of(Graph(()))
    Frame(0 nodes, 0 edges, outputs: none, 0 gradients)
    """
    if isinstance(x, Frame | Graph):
        return as_frame(x)
    inner = getattr(x, "frame", None)
    if isinstance(inner, Frame):  # a step
        return inner
    if callable(inner):  # a run: its last iteration
        return cast("Frame", inner(-1))
    from gradviz import sources

    return sources.frame(x, params=params)


def arranged(frame: Frame, options: Options, keep: Iterable[int] = ()) -> Drawing:
    """Return the drawing of the part of ``frame`` that the options ask for; ``keep`` is never folded away.

    >>> from gradviz.graphs import Graph, Node
    >>> frame = as_frame(Graph((Node(0, "x", "input", "input"),)))
    >>> arranged(frame, Options(highlight="x")).options.highlight
    (0,)
    """
    arrangement = Arrangement(frame, options, keep)

    def opened(paths: Collection[tuple[str, ...]]) -> Drawing:
        part, found = arrangement.arranged(paths)
        return Drawing(part, found, frame, opened)

    return opened(())
