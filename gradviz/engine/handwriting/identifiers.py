"""Names for Python: what a user called something, as an identifier of its own."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata

__all__ = ["Identifiers"]

TAKEN = frozenset({*dir(builtins), *keyword.kwlist, *keyword.softkwlist, "np", "math"})
LONGEST = 40


class Identifiers:
    """Hands out identifiers, each once.

    >>> names = Identifiers()
    >>> names.new("w"), names.new("w"), names.new("layers[0].weight"), names.new("lambda"), names.new("x = 1; y")
    ('w', 'w_2', 'layers_0_weight', 'lambda_', 'x_1_y')
    """

    def __init__(self, taken: frozenset[str] = frozenset()) -> None:
        self._given = set(TAKEN | taken)
        self._counts: dict[str, int] = {}

    def new(self, wish: str) -> str:
        """Return an identifier close to what was wished for."""
        base = _fit(wish)
        if base in TAKEN and base not in {"np", "math"}:
            base += "_"
        name, count = base, self._counts.get(base, 1)
        while name in self._given:
            count += 1
            name = f"{base}_{count}"
        self._counts[base] = count
        self._given.add(name)
        return name


def _fit(wish: str) -> str:
    text = unicodedata.normalize("NFKC", wish[: 4 * LONGEST])
    if not text.isidentifier() or not text.isprintable():
        text = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    text = text[:LONGEST]
    if not text.isidentifier():
        text = f"v_{text}".rstrip("_") if text else "v"
    return text if not text.startswith("__") else f"v{text}"
