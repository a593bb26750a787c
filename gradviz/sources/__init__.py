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

from gradviz.errors import GradvizTypeError, GradvizValueError, MissingExtraError
from gradviz.graphs import Frame, Graph, Node

SOURCES = {"gradviz": "gradviz.sources.own", "torch": "gradviz.sources.torch"}


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


def capture(model: Any = None, *, keep: int | None = None, level: str = "full") -> Any:
    """Watch a PyTorch program from the start: every call with its value, gradient, module and source line.

    Use it around a training loop, or one step of it::

        with gradviz.capture(model) as cap:
            loss = criterion(model(x), y)
            loss.backward()
        cap.frame()  # the last step, as a Frame

    A step ends with its backward pass (``loss.backward()``, ``torch.autograd.backward`` or ``grad``); ``cap.frame(k)``
    is step k, counted from 0, ``len(cap)`` how many are kept: the last ``keep``, or as many as fit into 1 GB. ``model``
    gives names to parameters and scopes to operations; without it, they are those of the first module that is called.
    With ``level="stats"`` nothing is copied: of every value and gradient seven numbers are measured. Compiled modules
    run as they are written while they are watched. Nothing is changed: neither numbers, nor random numbers, nor
    buffers; and nothing is left behind. Only this thread is watched.

    Raises GradvizTypeError if ``model`` is no ``torch.nn.Module``.

    >>> import torch
    >>> w = torch.tensor(3.0, requires_grad=True)
    >>> with capture() as cap:
    ...     loss = w * w
    ...     loss.backward()
    >>> cap.frame().value("loss"), cap.frame().grad("w")
    (9.0, 6.0)
    """
    try:
        from gradviz.sources.torch.recorder import Capture
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError.of("PyTorch", "torch") from error
    return Capture(model, keep=keep, level=level)


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
    if params is not None and hasattr(type(params), "named_parameters"):
        return dict(params.named_parameters())
    if params is not None and not isinstance(params, Mapping):
        raise GradvizTypeError(f"params is a {type(params).__name__}", hint='give names to tensors: {"w": w}')
    return params


def _source_of(x: Any) -> Any:
    """Return the source module for the type of ``x``, or of the first of several results, or of one of its bases."""
    for base in type(x[0] if isinstance(x, tuple | list) and x else x).__mro__:
        package = base.__module__.split(".", 1)[0]
        if package in SOURCES:
            return importlib.import_module(SOURCES[package])
        for point in entry_points(group="gradviz.sources", name=package):
            return point.load()
    raise GradvizTypeError(
        f"{type(x).__module__}.{type(x).__name__} has no computation graph that gradviz can read",
        hint=f"give a gradviz Tensor, a Frame or a Graph; known sources: {', '.join(SOURCES)}",
    )
