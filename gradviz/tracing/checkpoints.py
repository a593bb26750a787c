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
    next step. Where no optimizer is known, the updates are compared with ``old - lr * gradient``.
    """

    def __init__(self, filing: Filing, updates: Updates, say: Say, every: int) -> None:
        self._filing = filing
        self._updates = updates
        self._every = every
        self._since: dict[tuple[str, ...], int] = {}  # rows since the last checkpoint, by the parameters it held
        self._hand = HandWritten(say)

    def after(self, step: int, loss: float, params: Mapping[str, Any], look: Look) -> None:
        """Do what is due after the row of this step has been written."""
        hand = self._hand
        if self._updates.is_known:
            hand.forget()
        else:
            hand.compare({name: normal(name, look(params[name])[0]) for name in hand.expected if name in params})
        names = tuple(params)
        since = self._since.get(names, self._every)
        if since >= self._every:
            self._write(step, loss, params, look)
            since = 0
        elif (watched := hand.watched) is not None and watched in params:
            hand.expect(step, {watched: _numbers(watched, look(params[watched]))})
        self._since[names] = since + 1

    def _write(self, step: int, loss: float, params: Mapping[str, Any], look: Look) -> None:
        numbers = {name: _numbers(name, look(p)) for name, p in params.items()}
        cells = [(_column(name, "value", value), value) for name, (value, _) in numbers.items()]
        for name, state in self._updates.state(params, step).items():
            for key, number in state.items():
                label = f"{name}.{key}"
                cells.append((_column(label, "state", kept := _state(label, number)), kept))
        columns, values = zip(*cells, strict=True) if cells else ((), ())
        self._filing.checkpoints(columns).write(step, loss, values)
        if not self._updates.is_known:
            self._hand.begin(step, numbers)


def _column(name: str, part: str, number: Any) -> Column:
    return Column(name, part, number.dtype.str, number.shape) if isinstance(number, np.ndarray) else Column(name, part)


def _numbers(name: str, pair: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return value and gradient as they are recorded."""
    value, grad = pair
    return normal(name, value), normal(name, grad)


def _state(label: str, number: Any) -> Any:
    """Return a number of the optimizer's state, a whole one as an integer."""
    return np.array(number, np.int64) if type(number) is int else normal(label, number)
