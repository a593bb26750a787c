"""Sources: anything that can be turned into a Frame.

A source is a module with ``graph(x, params)`` and ``frame(x, params)``. It is looked up by the
package that defines the type of ``x`` and imported when first needed; other packages add
theirs with an entry point of the group ``gradviz.sources``, named after that package.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.graphs import Frame, Graph, Node

SOURCES = {"gradviz": "gradviz.sources.own"}


def graph(x: Any, *, params: Mapping[str, Any] | None = None) -> Graph:
    """Return the computation graph that made ``x``.

    ``params`` gives names to tensors: ``{"w": w}``. Names are otherwise those given with
    ``name=``, then the caller's variables, then the op with a number.

    >>> import gradviz
    >>> a, b = gradviz.Tensor(2.0), gradviz.Tensor(3.0)
    >>> c = a * b
    >>> [node.name for node in graph(c).nodes]
    ['a', 'b', 'c']
    """
    if isinstance(x, Graph):
        return x
    if isinstance(x, Frame):
        return x.graph
    made: Graph = _source_of(x).graph(x, _names(params))
    return made


def frame(x: Any, *, params: Mapping[str, Any] | None = None) -> Frame:
    """Return the graph that made ``x`` with all values and gradients of this moment, copied.

    >>> import gradviz
    >>> a, b = gradviz.Tensor(2.0), gradviz.Tensor(3.0)
    >>> c = a * b
    >>> c.backward()
    >>> frame(c).value("c"), frame(c).grad("a"), frame(c).edge_grad("a", "c", 0)
    (6.0, 3.0, 3.0)
    """
    if isinstance(x, Frame):
        return x
    if isinstance(x, Graph):
        return Frame(x, (None,) * len(x), (None,) * len(x))
    made: Frame = _source_of(x).frame(x, _names(params))
    return made


def node_of(x: Any, ref: Any) -> Any:
    """Return the id of a tensor in the graph of ``x``; names, ids and nodes are returned as they are.

    >>> import gradviz
    >>> a, b = gradviz.Tensor(2.0), gradviz.Tensor(3.0)
    >>> node_of(a * b, b), node_of(a * b, "a")
    (1, 'a')
    """
    if isinstance(ref, str | int | Node) or ref is None or isinstance(x, Frame | Graph):
        return ref
    if type(ref).__module__.split(".", 1)[0] != type(x).__module__.split(".", 1)[0]:
        return ref
    found = _source_of(x).position(x, ref)
    if found is None:
        raise GradvizValueError(
            f"{str(ref)[:60]} is not in the graph of {str(x)[:60]}",
            hint="highlight or focus on what the result was made of",
        )
    return found


def _names(params: Any) -> Mapping[str, Any] | None:
    if params is not None and not isinstance(params, Mapping):
        raise GradvizTypeError(f"params is a {type(params).__name__}", hint='give names to tensors: {"w": w}')
    return params


def _source_of(x: Any) -> Any:
    """Return the source module for the type of ``x`` or of one of its bases."""
    for base in type(x).__mro__:
        package = base.__module__.split(".", 1)[0]
        if package in SOURCES:
            return importlib.import_module(SOURCES[package])
        for point in entry_points(group="gradviz.sources", name=package):
            return point.load()
    raise GradvizTypeError(
        f"{type(x).__module__}.{type(x).__name__} has no computation graph that gradviz can read",
        hint=f"give a gradviz Tensor, a Frame or a Graph; known sources: {', '.join(SOURCES)}",
    )
