"""Checkpoints: every so many steps all parameters and the optimizer's state, to compute the steps between from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradviz.tracing.columns import normal
from gradviz.tracing.filing import Filing
from gradviz.tracing.handwritten import HandWritten
from gradviz.tracing.layout import Column
from gradviz.tracing.rows import Look
from gradviz.tracing.updates import Say, Updates

__all__ = ["Checkpoints"]


class Checkpoints:
    """Writes a row into ``ckpt.npy`` at the first step and every ``every`` steps after it.

    The row holds the values before the update of that step. One that could not be written is made up for at the
    next step. Where no optimizer is known, the update after a checkpoint is compared with ``old - lr * gradient``.
    """

    def __init__(self, filing: Filing, updates: Updates, say: Say, every: int) -> None:
        self._filing = filing
        self._updates = updates
        self._every = every
        self._since: dict[tuple[str, ...], int] = {}  # rows since the last checkpoint, by the parameters it held
        self._hand = HandWritten(say)

    def after(self, step: int, loss: float, params: Mapping[str, Any], look: Look) -> None:
        """Do what is due after the row of this step has been written."""
        if self._hand.is_waiting:
            self._compare(params, look)
        names = tuple(params)
        since = self._since.get(names, self._every)
        if since >= self._every:
            self._write(step, loss, params, look)
            since = 0
        self._since[names] = since + 1

    def _compare(self, params: Mapping[str, Any], look: Look) -> None:
        """See what the update after the checkpoint was, unless an optimizer is known by now."""
        if self._updates.is_known:
            self._hand.forget()
        else:
            self._hand.compare({name: _plain(name, look(p)[0]) for name, p in params.items()})

    def _write(self, step: int, loss: float, params: Mapping[str, Any], look: Look) -> None:
        numbers = {name: tuple(_plain(name, number) for number in look(p)) for name, p in params.items()}
        cells = [(_column(name, "value", value), value) for name, (value, _) in numbers.items()]
        for name, state in self._updates.state(params, step).items():
            for key, number in state.items():
                label = f"{name}.{key}"
                cells.append((_column(label, "state", kept := _state(label, number)), kept))
        columns, values = zip(*cells, strict=True) if cells else ((), ())
        self._filing.checkpoints(columns).write(step, loss, values)
        if not self._updates.is_known:
            self._hand.expect(step, numbers)


def _column(name: str, part: str, number: Any) -> Column:
    return Column(name, part, number.dtype.str, number.shape) if isinstance(number, np.ndarray) else Column(name, part)


def _plain(name: str, number: Any) -> Any:
    return normal(name, number)


def _state(label: str, number: Any) -> Any:
    """Return a number of the optimizer's state, a whole one as an integer."""
    return np.array(number, np.int64) if type(number) is int else normal(label, number)
