"""What a trace does beside its own steps: it watches a program of PyTorch, and the settings of its optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from gradviz.tracing.columns import step_number
from gradviz.tracing.parameters import is_of

__all__ = ["Watching"]


class Watching:
    """The part of `Trace` that is about PyTorch."""

    step: Callable[..., None]
    _leave: Callable[[], None] | None = None

    def _watch(self: Any, model: Any, given: Mapping[str, Any], level: str, checkpoint: int) -> None:
        """Record what a model of PyTorch computes from now on; without one see to the optimizer alone."""
        if is_of(model, "torch") or hasattr(model, "on_step"):  # a model, or a capture that is running
            from gradviz.tracing.foreign import ForeignStreams

            self._streams = ForeignStreams(self._filing, model, given, level, checkpoint, self._events.say)
            self.step = self._watched_step
            self._leave = self._updates.before_step(self._step_before_update)
        elif self._updates.is_foreign:
            self.step = self._told(self.step)

    def _watched_step(self: Any, loss: Any, *, step: int | None = None) -> None:
        """Record one iteration of a program of PyTorch, unless that is done."""
        with self._mutex:
            number = self._next_step if step is None else step_number(step)
            if self._streams.write(number, loss) is not None:
                self._updates.see(number)
                self._last_step, self._next_step = number, number + 1
                if self._events.waiting:
                    self._events.write()

    def _step_before_update(self: Any) -> None:
        """Record the iteration whose loss was not handed over, before the optimizer changes the parameters."""
        if self._state == "open" and self._streams.is_waiting:
            self.step(None)

    def _told(self: Any, inner: Callable[..., None]) -> Callable[..., None]:
        """Return a step that also notes the settings of an optimizer of PyTorch."""

        def step(loss: Any, *, step: int | None = None) -> None:
            if self._state == "open":
                self._updates.see(self._next_step if step is None else step_number(step))
            inner(loss, step=step)

        return step

    def _say_missed(self: Any, error: type[BaseException] | None) -> None:
        """Say that a program was seen to train and nothing was recorded, if that is so."""
        missed = self._streams.missed
        if missed:
            text = f"{missed} backward passes were seen and no step was recorded: call step(loss) after loss.backward()"
            self._events.say(None, "missed", text, {"passes": missed})
            if error is None:
                warnings.warn(f"{self.path}: {text}", RuntimeWarning, stacklevel=5)

    def _stop_watching(self: Any) -> None:
        """Leave nothing behind in a program of PyTorch."""
        if self._leave is not None:
            self._leave()
            self._leave = None
