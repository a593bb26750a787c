"""A program of PyTorch that knows nothing of this: every training step it makes becomes a row of a run."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

from gradviz.tracing.recorder import Trace

__all__ = ["Program"]


class Program:
    """Records what a program of PyTorch trains, from ``with`` to its end.

    The run is begun at the end of the first backward pass, when it is known what is trained; ``trace`` is None before.
    ``options`` are those of `gradviz.trace`. Optimizers are noticed when they step.
    """

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        from gradviz.sources.torch.recorder import Capture

        self.trace: Trace | None = None
        self._path = path
        self._options = options
        is_whole = options.get("level", "auto") in {"auto", "full"}
        self._capture: Any = Capture(keep=1, level="full" if is_whole else "stats")
        self._capture.begins_at_model = True  # what was computed before, without gradients, is data
        self._capture.on_step = self._begins
        self._optimizer: Any = None

    def _begins(self, moment: Any) -> None:
        """Begin the run with its first step."""
        capture = self._capture
        self.trace = trace = Trace(self._path, model=capture, params=capture.parameters, **self._options)
        trace._streams.each = self._ended
        trace._streams.begin_with(moment)

    def _ended(self) -> None:
        """Write the row of a step that has ended."""
        trace = self.trace
        if trace is None or trace._state != "open":
            return
        optimizer = self._capture.optimizer
        if optimizer is not None and optimizer is not self._optimizer:
            self._optimizer = optimizer
            trace._updates.stepped_by(optimizer)
        trace.step(None)

    def __enter__(self) -> Program:
        self._capture.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self._capture.stop()  # finishes the last step
        if self.trace is not None:
            self.trace.__exit__(kind, error, place)
