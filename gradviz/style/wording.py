"""Numbers and derivatives in words: formatted, summed up, never more than a short line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.graphs.walks import PLACE, places_in

if TYPE_CHECKING:
    from gradviz.graphs import Frame, Graph, Node, Number

__all__ = [
    "FEW",
    "Summary",
    "derivative",
    "display_name",
    "format_array",
    "format_number",
    "format_range",
    "format_shape",
    "handed_on",
    "has_bad",
    "level",
    "signed_size",
    "strip",
    "summary",
]

FEW = 6  # up to this many elements an array is written out
STRIP_CELLS = 16
BLOCKS = "▁▁▂▂▃▃▄▄▅"  # for levels -4 to 4


def format_number(x: Any, precision: int = 4) -> str:
    """Return a number in at most ``precision`` significant digits, short and unambiguous.

    Whole numbers below a million are written out; NaN and infinities are ``NaN``, ``inf``
    and ``-inf``; negative zero keeps its sign.

    >>> [format_number(x) for x in (2.0, 0.1 + 0.2, -0.0, 1e-9, 123456.0, 1.5e7, float("nan"))]
    ['2', '0.3', '-0', '1e-9', '123456', '1.5e7', 'NaN']
    """
    if x.__class__ is not float:
        if isinstance(x, bool | np.bool_):
            return str(bool(x))
        if isinstance(x, complex | np.complexfloating):
            return _format_complex(complex(x), precision)
    value = float(x)
    if math.isnan(value):
        return "NaN"
    if value.is_integer() and 0 < abs(value) < 1_000_000:
        return str(int(value))
    digits, _, exponent = f"{value:.{precision}g}".partition("e")
    return f"{digits}e{int(exponent)}" if exponent else digits


def _format_complex(value: complex, precision: int) -> str:
    imaginary = format_number(value.imag, precision)
    sign = "" if imaginary.startswith("-") else "+"
    return f"{format_number(value.real, precision)}{sign}{imaginary}j"


def format_shape(shape: tuple[int, ...]) -> str:
    """Return a shape as people write it; a scalar has none.

    >>> format_shape((784, 10)), format_shape((3,)), format_shape(())
    ('784×10', '3', '')
    """
    return "×".join(map(str, shape))


def format_array(array: np.ndarray, precision: int = 4) -> str:
    """Return every element of a small array, nested as NumPy does.

    >>> format_array(np.array([[1, 2.5], [float("nan"), 4]]))
    '[[1, 2.5], [NaN, 4]]'
    """
    parts = [format_number(item, precision) for item in array.ravel().tolist()]
    for size in reversed(array.shape):
        groups = len(parts) // size if size else 1
        parts = ["[" + ", ".join(parts[i * size : (i + 1) * size]) + "]" for i in range(groups)]
    return parts[0]


@dataclass(frozen=True, slots=True)
class Summary:
    """What is worth knowing of an array; ``low``, ``high`` and ``mean`` are of its finite elements."""

    shape: tuple[int, ...]
    size: int
    low: float
    high: float
    mean: float
    std: float
    norm: float
    nans: int
    infs: int

    @property
    def bad(self) -> str:
        """What is wrong with it, such as ``2 NaN, 1 inf``; empty if nothing is."""
        found = [(self.nans, "NaN"), (self.infs, "inf")]
        return ", ".join(f"{count} {what}" for count, what in found if count)


def summary(x: Number) -> Summary:
    """Return the summary of an array or number.

    >>> summary(np.array([1.0, 3.0, float("nan")]))
    Summary(shape=(3,), size=3, low=1.0, high=3.0, mean=2.0, std=1.0, norm=3.1622776601683795, nans=1, infs=0)
    """
    array = np.asarray(x)
    real = real_parts(array)
    finite = real[np.isfinite(real)]
    nans = int(np.isnan(real).sum())
    infs = real.size - finite.size - nans
    if not finite.size:
        return Summary(array.shape, array.size, math.nan, math.nan, math.nan, math.nan, math.nan, nans, infs)
    with np.errstate(all="ignore"):
        norm = float(np.sqrt(np.sum(np.square(finite))))
        low, high, mean, std = map(float, (finite.min(), finite.max(), finite.mean(), finite.std()))
    return Summary(array.shape, array.size, low, high, mean, std, norm, nans, infs)


def real_parts(x: np.ndarray) -> np.ndarray:
    """Return numbers as float64, of complex ones the magnitudes; NaNs of any kind without a warning.

    >>> real_parts(np.array([3 + 4j])).tolist()
    [5.0]
    """
    with np.errstate(all="ignore"):  # memory that nobody has written to can hold signalling NaNs
        return np.abs(x) if x.dtype.kind == "c" else x.astype(np.float64, copy=False)


def format_range(found: Summary, precision: int = 4) -> str:
    """Return the range of a summed-up array.

    >>> format_range(summary(np.array([-1.0, 2.0]))), format_range(summary(np.zeros(9)))
    ('-1 … 2', 'all 0')
    """
    if found.size == 0:
        return "empty"
    if math.isnan(found.low):
        return "nothing finite"
    low, high = format_number(found.low, precision), format_number(found.high, precision)
    return f"all {low}" if low == high else f"{low} … {high}"


def has_bad(x: Number | None) -> bool:
    """Tell whether there is a NaN or an infinity in a number or array.

    >>> has_bad(float("inf")), has_bad(np.ones(3)), has_bad(None)
    (True, False, False)
    """
    if x is None:
        return False
    return not math.isfinite(x) if isinstance(x, float) else not bool(np.isfinite(x).all())


def signed_size(x: Number | None) -> float | None:
    """Return how large a gradient is, with the sign of its sum; None if there is none.

    >>> signed_size(np.array([1.0, -4.0])), signed_size(None)
    (-4.0, None)
    """
    if x is None or isinstance(x, float):
        return x
    found = summary(x)
    if math.isnan(found.low):
        return math.nan
    return math.copysign(max(abs(found.low), abs(found.high)), found.mean)


def level(size: float | None, largest: float) -> int:
    """Return the colour level, -4 to 4, of a gradient beside the largest one in the picture.

    Half of the largest and more is 4, a tenth 3, a hundredth 2, anything else but 0 is 1.

    >>> [level(size, 10.0) for size in (-10.0, -1.0, 0.0, 0.01, 0.2, None)]
    [-4, -3, 0, 1, 2, 0]
    """
    if not size or not math.isfinite(size):
        return 0
    share = abs(size) / largest if largest else 0.0
    step = 4 if share >= 0.5 else 3 if share >= 0.1 else 2 if share >= 0.01 else 1
    return step if size > 0 else -step


def strip(x: np.ndarray, cells: int = STRIP_CELLS) -> tuple[int | None, ...]:
    """Return an array as a short row of levels -4 to 4: means of runs beside the largest of them.

    A run that holds a NaN or an infinity is None.

    >>> strip(np.array([0.0, 1.0, -1.0, float("nan")]), 4)
    (0, 4, -4, None)
    """
    flat = real_parts(x).ravel()
    if not flat.size:
        return ()
    count = min(cells, flat.size)
    starts = np.arange(count) * flat.size // count
    with np.errstate(all="ignore"):
        means = np.add.reduceat(flat, starts) / np.diff(np.append(starts, flat.size))
    finite = np.abs(means[np.isfinite(means)])
    top = float(finite.max()) if finite.size else 0.0
    return tuple(_linear_level(mean, top) for mean in means.tolist())


def _linear_level(value: float, top: float) -> int | None:
    if not math.isfinite(value):
        return None
    return round(4 * value / top) if top else 0


def blocks(levels: tuple[int | None, ...]) -> str:
    """Return a strip as text.

    >>> blocks((-4, 0, 4, None))
    '▁▃▅!'
    """
    return "".join("!" if step is None else BLOCKS[step + 4] for step in levels)


def display_name(node: Node) -> str:
    """Return what to call a node: its name, in quotes where nothing would be seen of it.

    >>> from gradviz.graphs import Node
    >>> display_name(Node(0, "w", "param", "param")), display_name(Node(0, " ", "param", "param"))
    ('w', '" "')
    """
    return node.name if node.name.strip() else f'"{node.name}"'


def handed_on(graph: Graph, src: int, dst: int) -> str:
    """Return what to call the edge over which a folded node takes something from the round before.

    >>> from gradviz.graphs import Graph, Node
    >>> handed_on(Graph((Node(0, "x", "input", "input"), Node(1, "s", "add", "op", (0,)))), 1, 1)
    'added up'
    """
    return "added up" if src == dst and graph.nodes[dst].op == "add" else "next round"


def derivative(frame: Frame, src: int, dst: int, arg: int, precision: int = 4) -> str:
    """Return the local derivative of one edge as formula and number, ``""`` if it has neither.

    >>> from gradviz.graphs import EdgeTable, Frame, Graph, Node
    >>> a, b = Node(0, "a", "input", "input"), Node(1, "b", "input", "input")
    >>> d = Node(2, "d", "mul", "op", (0, 1), formulas=("{1}", "{0}"))
    >>> frame = Frame(Graph((a, b, d), (2,)), [2, 3, 6], [None] * 3, EdgeTable({}, {(0, 2, 0): 3}))
    >>> derivative(frame, 0, 2, 0)
    '∂d/∂a = b = 3'
    """
    nodes = frame.graph.nodes
    formula = _formula(frame, nodes[dst], arg, precision)
    found = frame.local(src, dst, arg)
    number = "" if found is None else _short(found, precision)
    parts = [formula] if formula == number.removeprefix("all ") else [formula, number]
    if not any(parts):
        return ""
    return " = ".join((f"∂{display_name(nodes[dst])}/∂{display_name(nodes[src])}", *filter(None, parts)))


def _formula(frame: Frame, node: Node, arg: int, precision: int) -> str:
    """Return a formula in the names of the graph; a constant is its number."""
    if not 0 <= arg < min(len(node.formulas), len(node.inputs)):
        return ""
    template, names = node.formulas[arg], {"y": display_name(node)}
    for place in places_in(template, len(node.inputs)):
        src = node.inputs[place]
        name, value = display_name(frame.graph.nodes[src]), frame.values[src]
        if frame.graph.nodes[src].kind == "const" and value is not None:
            short = _short(value, precision).removeprefix("all ")
            name = short if " " not in short else name
        names[str(place)] = name
    return PLACE.sub(lambda hit: names.get(hit[1], hit[0]), template)


def _short(x: Number, precision: int) -> str:
    if isinstance(x, float):
        return format_number(x, precision)
    if x.size <= FEW:
        return format_array(x, precision)
    found = summary(x)
    return ", ".join(filter(None, (format_range(found, precision), found.bad)))
