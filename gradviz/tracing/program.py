"""A program of PyTorch that knows nothing of this: every training step it makes becomes a row of a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType
from typing import Any

from gradviz.tracing.recorder import Trace

__all__ = ["Program"]


class Program:
    """Records what a program of PyTorch trains, from ``with`` to its end.

    The run is begun at the end of the first backward pass, when it is known what is trained; ``trace`` is None before.
    ``options`` are those of `gradviz.trace`. Optimizers are noticed when they step. The program goes on where
    recording fails: ``trouble`` is the reason then.
    """

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        from gradviz.sources.torch.recorder import Capture

        self.trace: Trace | None = None
        self.trouble: Exception | None = None
        self._path = path
        self._options = options
        is_whole = options.get("level", "auto") in {"auto", "full"}
        self._capture: Any = Capture(keep=1, level="full" if is_whole else "stats")
        self._capture.begins_at_model = True  # what was computed before, without gradients, is data
        self._capture.on_step = lambda moment: self._unharmed(lambda: self._begins(moment))
        self._optimizer: Any = None

    def _begins(self, moment: Any) -> None:
        """Begin the run with its first step."""
        capture = self._capture
        self.trace = trace = Trace(self._path, model=capture, params=capture.parameters, **self._options)
        trace._streams.each = lambda: self._unharmed(self._ended)
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

    def _unharmed(self, record: Callable[[], None]) -> None:
        """Record something; if that fails, record nothing more, and let the program go on."""
        try:
            record()
        except Exception as error:  # a full disk, say: nothing of the program's own
            self.trouble = error
            self._capture.abandon()

    def __enter__(self) -> Program:
        self._capture.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        try:
            self._capture.stop()  # finishes the last step
        finally:
            if self.trace is not None:
                failed = kind or (None if self.trouble is None else type(self.trouble))
                self.trace.__exit__(failed, error or self.trouble, place)
