"""Arrays written out as Python."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np

__all__ = ["array_text"]

WIDTH = 88


def array_text(x: Any) -> str:
    """Return the text of an array that NumPy reads back as the same array, to the last bit.

    >>> import numpy as np
    >>> array_text(np.array([1.0, 0.1])), array_text(np.zeros((0, 2)))
    ('np.array([1.0, 0.1])', 'np.zeros((0, 2))')
    """
    x = np.asarray(x)
    usual = x.dtype in (np.float64, np.int64, np.bool_)
    dtype = "" if usual else f", np.{x.dtype.name}"
    if not x.size:
        kind = "" if x.dtype == np.float64 else f", {x.dtype.name!r}"
        return f"np.zeros({x.shape}{kind})"
    return f"np.array({_wrapped(x.tolist(), 0)}{dtype})"


def _wrapped(x: Any, depth: int) -> str:
    """Return nested lists on one line if it is short, else filled lines."""
    text = _nested(x)
    indent = "    " * (depth + 1)
    if len(text) + 4 * depth <= WIDTH or not isinstance(x, list):
        return text
    if isinstance(x[0], list):
        rows = "".join(f"{indent}{_wrapped(row, depth + 1)},\n" for row in x)
    else:
        filled = textwrap.fill(text[1:-1], WIDTH, break_long_words=False, break_on_hyphens=False)
        rows = textwrap.indent(filled, indent) + ",\n"
    return f"[\n{rows}{'    ' * depth}]"


def _nested(x: Any) -> str:
    if isinstance(x, list):
        return f"[{', '.join(map(_nested, x))}]"
    if isinstance(x, float) and not math.isfinite(x):
        return "np.nan" if math.isnan(x) else "np.inf" if x > 0 else "-np.inf"
    return repr(x)
