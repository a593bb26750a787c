"""Every decision about how things look: options and fonts here, colours and words beside it.

The colours are in `gradviz.style.colours` and the wording of numbers in `gradviz.style.wording`; both
can be had from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from gradviz.errors import GradvizValueError, suggestion
from gradviz.style.colours import THEMES, Theme
from gradviz.style.wording import Summary, derivative, format_array, format_number, summary

__all__ = [
    "FONTS",
    "SERIF_FONTS",
    "THEMES",
    "Options",
    "Summary",
    "Theme",
    "as_names",
    "derivative",
    "format_array",
    "format_number",
    "summary",
]

SHOW = ("name", "shape", "value", "grad", "local", "source", "stats")
STYLES = ("cards", "circuit", "paper", "boxes", "compact")
DIRECTIONS = ("LR", "TB")
ENGINES = ("auto", "embedded", "system", "scope")
FOLDS = ("auto", True, False)
FONTS = "Helvetica,Arial,sans-serif"
SERIF_FONTS = "Times,Times New Roman,STIX Two Text,serif"


@dataclass(frozen=True, slots=True)
class Options:
    """What to draw and how; every value is checked when the object is made.

    ``show`` takes any of name, shape, value, grad, local, source and stats. ``highlight``
    and ``pending`` are names or ids of nodes, ``unfold`` True or names of folds. ``timeout`` is in seconds. Raises
    `GradvizValueError` naming the option, the value it got and those it takes.

    >>> Options(style="boxes", show="name").show
    ('name',)
    >>> Options(theme="pink")
    Traceback (most recent call last):
        ...
    gradviz.errors.GradvizValueError: theme='pink' is no theme
      allowed: 'auto', 'light', 'dark', 'print'
    """

    show: tuple[str, ...] = ("name", "shape", "value", "grad")
    style: str = "cards"
    theme: str = "auto"
    direction: str = "LR"
    fold: str | bool = "auto"
    unfold: bool | tuple[str | int, ...] | None = None
    collapse: int | None = None
    focus: str | int | None = None
    hops: int | None = None
    highlight: tuple[str | int, ...] = ()
    pending: tuple[str | int, ...] = ()
    precision: int = 4
    engine: str = "auto"
    title: str | None = None
    alt: str | None = None
    timeout: float = 30.0

    def __post_init__(self) -> None:
        self._normalise("show", _words("show", self.show, SHOW))
        if self.unfold is not None and not isinstance(self.unfold, bool):
            self._normalise("unfold", as_names("unfold", self.unfold))
        self._normalise("highlight", as_names("highlight", self.highlight))
        self._normalise("pending", as_names("pending", self.pending))
        _check_choices(self)
        _check_whole("precision", self.precision, 1, 17)
        for name in ("collapse", "hops"):
            if getattr(self, name) is not None:
                _check_whole(name, getattr(self, name), 0, 1_000_000)
        _check_texts(self)
        _check_timeout(self.timeout)

    def _normalise(self, name: str, value: tuple[Any, ...]) -> None:
        object.__setattr__(self, name, value)


def _check_choices(options: Options) -> None:
    allowed: dict[str, tuple[str | bool, ...]] = {
        "style": STYLES,
        "theme": tuple(THEMES),
        "direction": DIRECTIONS,
        "fold": FOLDS,
        "engine": ENGINES,
    }
    for name, choices in allowed.items():
        value = getattr(options, name)
        if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
            raise GradvizValueError(
                f"{name}={_brief(value)} is no {name}", hint="allowed: " + ", ".join(map(repr, choices))
            )


def _words(name: str, value: object, choices: tuple[str, ...]) -> tuple[str, ...]:
    words = (value,) if isinstance(value, str) else _listed(name, value)
    for word in words:
        if word not in choices:
            near = suggestion(str(word)[:200], choices)
            raise GradvizValueError(
                f"{name}={_brief(word)} is not something to {name}",
                hint=f"{near}; allowed: {', '.join(choices)}"
                if near.startswith("did")
                else f"allowed: {', '.join(choices)}",
            )
    return tuple(choice for choice in choices if choice in words)


def as_names(name: str, value: object) -> tuple[str | int, ...]:
    """Return names, ids or Nodes, one or many, as a tuple of names and ids.

    >>> as_names("highlight", "w"), as_names("highlight", [0, "w"])
    (('w',), (0, 'w'))
    """
    if isinstance(value, str | Integral):
        value = (value,)
    found = tuple(getattr(item, "id", item) for item in _listed(name, value))
    for item in found:
        if isinstance(item, bool) or not isinstance(item, str | Integral):
            raise GradvizValueError(f"{name} holds {_brief(item)}", hint="give names or ids of nodes")
    return tuple(item if isinstance(item, str) else int(item) for item in found)


def _listed(name: str, value: object) -> tuple[Any, ...]:
    if not isinstance(value, Iterable) or isinstance(value, bytes):
        raise GradvizValueError(f"{name}={_brief(value)} is not a list of names")
    return tuple(value)


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= int(value) <= high:
        raise GradvizValueError(f"{name}={_brief(value)} is out of range", hint=f"allowed: {low} to {high:,}")


def _check_texts(options: Options) -> None:
    for name in ("title", "alt"):
        value = getattr(options, name)
        if value is not None and not isinstance(value, str):
            raise GradvizValueError(f"{name}={_brief(value)} is not text")


def _check_timeout(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < float("inf"):
        raise GradvizValueError(f"timeout={_brief(value)} is not a time", hint="give seconds, more than 0")


def _brief(value: object) -> str:
    return repr(value)[:80]
