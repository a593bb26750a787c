"""Following how the parameters change: by which optimizer, and with which options."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gradviz.errors import GradvizTypeError
from gradviz.sources import updates as engine
from gradviz.tracing.parameters import is_of

__all__ = ["Say", "StateDict", "Updates", "checked_optimizer"]

Say = Callable[[int | None, str, str, Mapping[str, Any]], None]  # step, kind, text, data


class StateDict(Protocol):
    """Anything that tells its kind, options and state."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return ``{"kind": "SGD", "options": {"lr": 0.1}, "state": [a dict for each parameter, in order]}``."""


class Updates:
    """Finds out what changes the parameters of a run, and writes an event when that changes.

    An optimizer of this package is found by itself: it is the one that has stepped since the last row and holds a
    traced parameter. One that is given by hand need only have ``state_dict``.
    """

    def __init__(self, say: Say, given: StateDict | None) -> None:
        self._say = say
        self._given: Any = given if engine.is_optimizer(given) else None
        self._foreign: Any = given if self._given is None else None
        self._found: Any = self._given
        self._made: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()  # steps made when looked at last
        self.seen = -1  # how many steps all optimizers together had made when `follow` looked
        self._said: tuple[str | None, Any] | None = None
        self._is_told = False
        self._pace: tuple[int, Any] = (-1, None)  # steps made and settings used when the rule was last said or the same

    @property
    def is_known(self) -> bool:
        """Whether the rule is known, so that it need not be guessed."""
        return self._is_told or self._found is not None or self._foreign is not None

    @property
    def is_foreign(self) -> bool:
        """Whether the optimizer is one of PyTorch."""
        return hasattr(self._foreign, "before_step")

    def before_step(self, call: Callable[[], None]) -> Callable[[], None] | None:
        """Have something called before every step of an optimizer of PyTorch, until what is returned is called."""
        return self._foreign.before_step(call) if self.is_foreign else None

    def stepped_by(self, optimizer: Any) -> None:
        """Take note of an optimizer of PyTorch that was seen to step."""
        self._foreign = checked_optimizer(optimizer)

    def follow(self, params: Mapping[str, Any], previous: int | None) -> None:
        """See which optimizer has stepped since the row of step ``previous`` (None: there is none), and say so."""
        if self._goes_on():
            return
        self.seen = engine.STEPPED.count
        if self._is_told or self._foreign is not None:
            return
        candidates = [self._given] if self._given is not None else engine.holding(params.values())
        moved = [o for o in candidates if engine.steps_made(o) != self._made.get(o)]
        self._made.update((o, engine.steps_made(o)) for o in moved)
        if len(moved) == 1:
            self._found = moved[0]
            options = engine.options_used(self._found)
            if previous is not None and options is not None:
                self._announce(previous, type(self._found).__name__, options)
                self._pace = engine.pace(self._found)
        elif moved and previous is not None:
            self._found = None
            self._announce(previous, None, {})

    def _goes_on(self) -> bool:
        """Tell whether nothing has happened but one more step of the same optimizer with the same settings."""
        if self._found is None or engine.STEPPED.count != self.seen + 1:
            return False
        steps, settings = pace = engine.pace(self._found)
        if steps != self._pace[0] + 1 or settings != self._pace[1]:
            return False
        self.seen += 1
        self._pace = pace
        self._made[self._found] = steps
        return True

    def tell(self, kind: str, options: Mapping[str, Any], step: int | None) -> None:
        """Take note of a rule that the loop itself tells."""
        self._is_told = True
        self._announce(step, kind, options)

    def see(self, step: int) -> None:
        """Say with which settings an optimizer of PyTorch makes the update after this step, if they are new."""
        if self.is_foreign:
            self._announce(step, self._foreign.kind, self._foreign.options)

    def state(self, params: Mapping[str, Any], step: int) -> Mapping[str, Mapping[str, Any]]:
        """Return what the optimizer keeps of each parameter before the update of this step."""
        if self._foreign is None:
            return engine.state_of(self._found, params) if self._found is not None else {}
        told = checked_state(self._foreign)
        self._announce(step, str(told["kind"]), told["options"])
        states = told["state"]
        return dict(zip(params, states, strict=True)) if len(states) == len(params) else {}

    def _announce(self, step: int | None, kind: str | None, options: Mapping[str, Any]) -> None:
        """Write down the rule of the update after this step, unless it is the rule known already."""
        if self._said == (kind, options):
            return
        self._said = kind, dict(options)
        shown = ", ".join(f"{name}={value!r}" for name, value in options.items())
        text = f"the parameters are changed by {kind}({shown})"
        if kind is None:
            text = (
                "several optimizers change the traced parameters, so the steps between checkpoints"
                " cannot be computed again: give trace(optimizer=...) the one that is meant"
            )
        self._say(step, "optimizer", text, {"optimizer": kind, "options": options})


def checked_optimizer(given: Any) -> StateDict | None:
    """Return the optimizer if its state can be asked for.

    >>> checked_optimizer("Adam")
    Traceback (most recent call last):
        ...
    gradviz.errors.GradvizTypeError: optimizer is a str, which has no state_dict() to ask for kind, options and state
      leave it out: optimizers of gradviz.optim are found by themselves
    """
    if is_of(given, "torch") and hasattr(given, "param_groups"):
        from gradviz.sources.torch.updates import TorchOptimizer

        return TorchOptimizer(given)
    if given is not None and not engine.is_optimizer(given):
        checked_state(given)
    return given  # type: ignore[no-any-return]


def checked_state(given: Any) -> Mapping[str, Any]:
    """Return what an optimizer says of itself."""
    told = given.state_dict() if callable(getattr(given, "state_dict", None)) else None
    if isinstance(told, Mapping) and {"kind", "options", "state"} <= set(told):
        return told
    raise GradvizTypeError(
        f"optimizer is a {type(given).__name__}, which has no state_dict() to ask for kind, options and state",
        hint="leave it out: optimizers of gradviz.optim are found by themselves",
    )
