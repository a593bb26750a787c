"""What a rule says: a symptom where it sees one, a finding once it is known which rule spoke."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradviz.errors import GradvizValueError
from gradviz.graphs import Node, Source

__all__ = ["SEVERITIES", "Finding", "Symptom", "told_ranks"]

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Symptom:
    """What one rule has seen: words and numbers, and where.

    ``at`` is the node, or the name of a parameter that is in no graph. ``severity`` and ``advice`` are
    given where those of the rule do not fit, ``ranks`` where it is about some processes of several.
    """

    message: str
    at: Node | str | None = None
    step: int | None = None
    last_step: int | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)
    severity: str = ""
    advice: str = ""
    ranks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a health rule has found in a run or a frame.

    ``severity`` is ``"error"`` (this cannot learn), ``"warning"`` (this probably learns badly) or ``"note"``
    (worth knowing). ``node`` is the name of the node or parameter, ``step`` the first iteration at which it
    is so and ``last_step`` the last, ``source`` the line that made the node; each is None where it is not
    known. ``numbers`` holds what was measured, ``advice`` what usually helps. Among several runs ``run`` names the
    one it is about, and ``ranks`` the processes of it.

    >>> print(Finding("dead", "warning", "all 8 units are 0", node="relu_1", step=40))
    warning: dead: all 8 units are 0 (relu_1, step 40)
    """

    rule: str
    severity: str
    message: str
    node: str | None = None
    step: int | None = None
    last_step: int | None = None
    source: Source | None = None
    numbers: dict[str, Any] = field(default_factory=dict)
    advice: str = ""
    run: str | None = None
    ranks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise GradvizValueError(f"severity={self.severity!r}", hint=f"choose one of {', '.join(SEVERITIES)}")

    def __str__(self) -> str:
        place = ", ".join(self.places())
        return f"{self.severity}: {self.rule}: {self.message}" + (f" ({place})" if place else "")

    def places(self) -> list[str]:
        """Return where it is, in words: the run and its ranks, the node, the steps, the source line."""
        source = str(self.source) if self.source else ""
        return [*filter(None, (self.run, told_ranks(self.ranks), self.node, self._steps(), source))]

    def _steps(self) -> str:
        if self.step is None:
            return ""
        later = self.last_step is not None and self.last_step != self.step
        return f"steps {self.step} to {self.last_step}" if later else f"step {self.step}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data that JSON can hold; NaN and infinities are text.

        >>> Finding("nan", "error", "NaN", numbers={"loss": float("nan")}).to_dict()["numbers"]
        {'loss': 'nan'}
        """
        source = self.source
        place = None if source is None else {"file": source.file, "line": source.line, "text": source.text}
        names = ("rule", "severity", "message", "node", "step", "last_step", "advice")
        among = {} if self.run is None and not self.ranks else {"run": self.run, "ranks": list(self.ranks)}
        told = {name: getattr(self, name) for name in names}
        return told | {"source": place, "numbers": plain(self.numbers)} | among


def told_ranks(ranks: Iterable[int]) -> str:
    """Return some processes of a run in words.

    >>> told_ranks([2]), told_ranks([0, 1]), told_ranks([0, 1, 2, 5]), told_ranks([])
    ('rank 2', 'ranks 0 and 1', 'ranks 0 to 2 and 5', '')
    """
    numbers = sorted(ranks)
    spans: list[list[int]] = []
    for rank in numbers:
        if spans and spans[-1][-1] == rank - 1:
            spans[-1].append(rank)
        else:
            spans.append([rank])
    parts = [text for span in spans for text in ([f"{span[0]} to {span[-1]}"] if len(span) > 2 else map(str, span))]
    listed = " and ".join([*filter(None, [", ".join(parts[:-1])]), *parts[-1:]])
    return f"rank{'s' if len(numbers) > 1 else ''} {listed}" if numbers else ""


def plain(value: Any) -> Any:
    """Return numbers as JSON can hold them.

    >>> plain({"at": (0, np.int64(1)), "size": np.float64(2.5), "norm": float("inf")})
    {'at': [0, 1], 'size': 2.5, 'norm': 'inf'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value
