"""`to_python`: a loss and its gradient as Python source, derived from the graph."""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradviz.engine.handwriting import NoWordsError, Piece, is_small, listing
from gradviz.engine.tensor import Tensor
from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.sources import frame, own
from gradviz.sources.entries import collect

__all__ = ["to_python"]

RENAMED = {"dim": "axis", "keepdim": "keepdims"}  # metadata as PyTorch calls it


def to_python(
    loss: Any,
    *,
    grads: bool = True,
    values: bool = False,
    function: str = "value_and_grad",
    params: Mapping[str, Any] | None = None,
) -> str:
    """Return Python source that computes ``loss`` and its gradient, line by line as a person would write it.

    The names are those of your variables. Every line of the backward part carries the derivative that it
    uses as a comment. The source needs NumPy or `math` alone; its function takes the leaves of the graph as
    arguments, whose defaults are the numbers recorded, and returns the value and a dict of gradients by
    parameter. Arrays of more than 100 numbers are arguments without default. With ``grads=False`` it is
    the forward part, with ``values`` every line shows the number it came to.

    ``loss`` is a Tensor, or a Frame (as of a run or of a PyTorch loss). Raises `GradvizValueError` for an op
    that has no words; `compile` runs those too.

    >>> from gradviz import Tensor
    >>> a, b = Tensor(2.0), Tensor(3.0)
    >>> c = a * b
    >>> for line in to_python(c).splitlines()[-4:]:
    ...     print(line.strip())
    d_c = 1.0
    d_a = d_c * b  # d(a * b)/da = b
    d_b = d_c * a  # d(a * b)/db = a
    return c, {"a": d_a, "b": d_b}
    """
    if not (isinstance(function, str) and function.isidentifier()) or keyword.iskeyword(function):
        raise GradvizValueError(f"function={function!r} is no name of a function", hint='such as "value_and_grad"')
    of = frame(loss, params=params)
    unknown = [n for n, v in zip(of.graph.nodes, of.values, strict=True) if n.kind == "const" and v is None]
    if len(of.graph.outputs) != 1 or unknown:
        raise GradvizTypeError(
            f"to_python needs one result whose constants are known, not a {type(loss).__name__}",
            hint="give the Tensor itself, or the frame of a loss that was captured",
        )
    pieces = _pieces(of, loss)
    root = of.graph.outputs[0]
    for module in ("math", "np"):  # where math raises, NumPy goes on
        source = listing(pieces, root, grads=grads, values=values, function=function, module=module)
        if _is_right(source, function, pieces, of.values[root], grads):
            return source
    raise NoWordsError(
        "the listing does not give the numbers that were recorded: an op has another meaning here",
        hint="gradviz.compile runs functions of gradviz's own Tensors",
    )


def _pieces(of: Any, loss: Any) -> list[Piece]:
    """Return what is to be written down of a frame."""
    nodes = of.graph.nodes
    # a Tensor still has the index arrays that a Frame only names
    kept = [e.attrs for e in collect(loss)] if isinstance(loss, Tensor) else [own.metadata_again(n) for n in nodes]
    wants: list[bool] = []
    pieces = []
    for node, value, attrs in zip(nodes, of.values, kept, strict=True):
        wants.append(node.kind == "param" or any(wants[i] for i in node.inputs))
        number = float(value) if value is not None and not node.shape and node.dtype == "float64" else value
        if node.kind == "const" and not node.shape and value is not None:
            number = float(value)
        given = {RENAMED.get(key, key): x for key, x in attrs.items()}
        pieces.append(
            Piece(node.name, node.kind, number, node.op, node.inputs, given, node.shape, node.formulas, wants[-1])
        )
    return pieces


def _is_right(source: str, function: str, pieces: Sequence[Piece], expected: Any, grads: bool) -> bool:
    """Run a listing once, as anybody would, and compare its result with the recorded one."""
    names: dict[str, Any] = {}
    exec(compile(source, "<gradviz: to_python>", "exec", dont_inherit=True), names)
    code = names[function].__code__
    count = code.co_argcount - len(names[function].__defaults__ or ())
    large = [p.value for p in sorted(pieces, key=lambda p: p.kind != "param") if p.kind != "op" and not is_small(p)]
    if expected is None or len(large) != count or any(x is None for x in large):
        return True  # nothing to compare with
    with np.errstate(all="ignore"):
        try:
            found = names[function](*large)
        except (ArithmeticError, ValueError):
            return False
    rounding = 1e-9 if np.asarray(expected).dtype.itemsize == 8 else 1e-4
    return np.allclose(found[0] if grads else found, expected, rtol=rounding, atol=rounding, equal_nan=True)
