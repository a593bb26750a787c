"""What a large picture shows of every node, as columns: its name, its box, its colour, and its edges."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from gradviz import escape
from gradviz.graphs import Frame, Number
from gradviz.style import wording
from gradviz.transforms.hashing import edge_arrays
from gradviz.views.cards import inner_name
from gradviz.views.large.placing import Placement, placed
from gradviz.views.large.rounds import scopes_of
from gradviz.views.painting import WIDTHS

__all__ = ["FAN", "HEIGHT", "SIZE", "TONES", "Sheet"]

HEIGHT, SIZE = 14.0, 8.0  # of a box, and of the letters in it, in points
STEP = 24.0  # boxes are this wide, or a multiple: so that more scopes are alike
LONGEST = 24  # letters
ROOM = 6.0  # beside the letters
TONES = ("i", "p", "c", "o", "x", *(f"g{level}" for level in range(9)))  # classes of boxes; g4 is no gradient
FAN, FAR = 12, 150.0  # uses, and points: a longer edge of a node that is used more often is left out but for its end
KINDS = {"input": 0, "param": 1, "const": 2}
OUTPUT, BAD, LEVELS = 3, 4, 9
STEPS = np.array([0.01, 0.1, 0.5])  # of the largest gradient, as `gradviz.style.wording.level` has them


class Sheet:
    """The columns of one frame."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.nodes = frame.graph.nodes
        self.src, self.dst, _ = edge_arrays(frame.graph)

    @cached_property
    def labels(self) -> list[str]:
        """The names without those of the scopes around them, made fit to be seen and short."""
        return [escape.clean(inner_name(node), LONGEST) for node in self.nodes]

    @cached_property
    def widths(self) -> np.ndarray:
        """How wide the boxes are."""
        return STEP * (1 + (text_widths(self.labels, SIZE) + ROOM) // STEP)

    @cached_property
    def placement(self) -> Placement:
        """Where everything is."""
        sizes = np.stack([self.widths, np.full(len(self.nodes), HEIGHT)], axis=1)
        return placed(scopes_of(self.frame), self.src, self.dst, sizes)

    @cached_property
    def stubs(self) -> np.ndarray:
        """Which edges are drawn as a short piece at their end, for with all of them nothing could be seen."""
        start, end = self.placement.corners[self.src], self.placement.corners[self.dst]
        across = np.abs(end[:, 0] - start[:, 0] - self.widths[self.src])
        often = np.bincount(self.src, minlength=len(self.nodes))[self.src] > FAN
        found: np.ndarray = often & (np.maximum(across, np.abs(end[:, 1] - start[:, 1])) > FAR)
        return found

    @cached_property
    def tones(self) -> np.ndarray:
        """Which of `TONES` each box has: what it is, or for an op its gradient, or that something is not finite."""
        grads, bad = sizes_of(self.frame.grads)
        kinds = np.array([KINDS.get(node.kind, -1) for node in self.nodes], np.int8)
        tones = np.where(kinds >= 0, kinds, levels(grads) + LEVELS).astype(np.uint8)
        tones[(kinds < 0) & (bad | sizes_of(self.frame.values)[1])] = BAD
        tones[list(self.frame.graph.outputs)] = OUTPUT
        return tones


def text_widths(texts: Sequence[str], size: float) -> np.ndarray:
    """Return about how wide texts are, each as `gradviz.views.painting.text_width` has it.

    >>> text_widths(["W", "", "ii"], 10.0).tolist()
    [9.0, 0.0, 5.6000000000000005]
    """
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    table = np.full(0x2E82, 0.57)
    for char, width in WIDTHS.items():
        table[ord(char)] = width
    table[-1] = 1.05
    ends = np.cumsum([0, *map(len, texts)])
    total = np.concatenate([[0.0], np.cumsum(table[np.minimum(codes, len(table) - 1)])])
    found: np.ndarray = size * np.round(total[ends[1:]] - total[ends[:-1]], 9)
    return found


def sizes_of(numbers: Sequence[Number | None]) -> tuple[np.ndarray, np.ndarray]:
    """Return how large numbers are, with their signs and 0 for none, and which hold a NaN or an infinity.

    >>> [found.tolist() for found in sizes_of([1.0, None, np.array([1.0, -4.0])])]
    [[1.0, 0.0, -4.0], [False, False, False]]
    """
    sizes = np.array([x if type(x) is float else wording.signed_size(x) or 0.0 for x in numbers], np.float64)
    bad = ~np.isfinite(sizes)
    arrays = [id for id, x in enumerate(numbers) if isinstance(x, np.ndarray)]
    bad[arrays] = [wording.has_bad(numbers[id]) for id in arrays]
    return sizes, bad


def levels(sizes: np.ndarray) -> np.ndarray:
    """Return the colour levels, -4 to 4, of gradients beside the largest finite one.

    >>> levels(np.array([-10.0, -1.0, 0.0, 0.01, 0.2, np.nan])).tolist()
    [-4, -3, 0, 1, 2, 0]
    """
    known = np.where(np.isfinite(sizes), sizes, 0.0)
    largest = float(np.abs(known).max(initial=0.0))
    with np.errstate(all="ignore"):
        share = np.abs(known) / largest if largest else np.abs(known)
    return np.sign(known).astype(np.int64) * (1 + np.searchsorted(STEPS, share, side="right"))
