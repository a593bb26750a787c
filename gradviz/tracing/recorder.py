"""`trace`: write every iteration of a training loop while it runs."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from gradviz.errors import GradvizTypeError, GradvizValueError, TraceError
from gradviz.sources.updates import STEPPED
from gradviz.tracing.budget import Budget, checked_budget
from gradviz.tracing.checkpoints import Checkpoints
from gradviz.tracing.columns import scalar_loss, step_number
from gradviz.tracing.events import Events, checked_kind
from gradviz.tracing.filing import Filing
from gradviz.tracing.information import checked_meta, surroundings
from gradviz.tracing.levels import LEVELS
from gradviz.tracing.parameters import Model, Params, given_params, gradient_norm
from gradviz.tracing.progress import Progress
from gradviz.tracing.ranks import layout_of, place_of, run_folder
from gradviz.tracing.rows import Rows
from gradviz.tracing.store import RunDirectory
from gradviz.tracing.streams import Streams
from gradviz.tracing.updates import Updates, checked_optimizer
from gradviz.tracing.watching import Watching

__all__ = ["LEVELS", "Trace", "trace"]

ON_ERROR = ("raise", "warn")
WORDS = {
    "checkpoint": "arrays are kept by norm and checksum, and whole at every checkpoint,",
    "scalars": "of arrays only the norm is kept",
    "loss": "only the loss is kept",
}

_open_traces: weakref.WeakSet[Trace] = weakref.WeakSet()


def trace(
    path: str | os.PathLike[str],
    *,
    params: Params | Model | None = None,
    model: Model | None = None,
    meta: Mapping[str, Any] | None = None,
    level: str = "auto",
    exist: str = "number",
    checkpoint: int = 50,
    optimizer: Any = None,
    budget: float | None = None,
    progress: bool = False,
    rank: int | None = None,
    world_size: int | None = None,
    on_error: str = "raise",
) -> Trace:
    """Open a run directory; call ``step(loss)`` on the result after every ``backward()``.

    Each step records the loss and, of every parameter, the value and the gradient, as one row that is complete on disk
    (though not yet safe from a power failure) when ``step`` returns. Read it with `open_run`.

    ``params`` maps names to objects with ``data`` and ``grad`` (Tensors, or your own), read anew at every step. A
    list of Tensors, or a model, will do as well. Without it, the parameters are those found in the graph of the loss.
    ``meta`` is anything JSON can hold, up to 4 MB, and is kept in ``run.json``.

    ``level`` says what is kept of arrays (numbers always are): ``"full"`` everything; ``"stats"`` minimum, maximum,
    mean, norm, counts of zeros, NaNs and infinities, and a histogram of magnitudes; ``"scalars"`` the norm.
    ``"auto"`` is full while a row has at most 64 KB. Above, it keeps norms and checksums at every step, and all
    parameters with the optimizer's state every ``checkpoint`` steps; the steps between are computed again when they
    are read, and proven by the checksums. That takes the rule of the updates: optimizers of `gradviz.optim`, and
    updates written as ``w.data -= lr * w.grad``, are recognised; of others give ``optimizer``, anything whose
    ``state_dict()`` holds ``kind``, ``options`` and ``state``. Changing inputs are recorded (by "auto" up to 1 MB).

    With a ``model`` of PyTorch, value and gradient of every node that it and the loss compute are recorded as well, for
    such a step cannot be computed again: by ``"auto"`` above 64 KB norms, and everything every ``checkpoint`` steps.
    An ``optimizer`` of PyTorch is noted, and a step that was not handed over is recorded just before it.

    ``budget=0.05`` lowers the level while recording takes more than 5 % of the time; an event says so.
    ``progress=True`` shows how it goes. With ``world_size`` above 1 (by torchrun) every process has ``path/rank-NNN``.

    If ``path`` already holds a run, ``exist`` decides: ``"number"`` renames the older run to ``path.1`` (or the next
    free number); ``"overwrite"`` deletes it; ``"error"`` refuses. A directory with other files is never touched.

    Raises TraceBusyError while another trace writes there, and TraceError when the directory or, in ``step``, the row
    cannot be written; the earlier rows stay readable. With ``on_error="warn"`` that row is a RuntimeWarning, and the
    training goes on with nothing more written. After a fork, the child writes nothing.

    >>> import tempfile, types
    >>> from gradviz.tracing.reading import open_run
    >>> w = types.SimpleNamespace(data=1.0, grad=None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with trace(folder + "/run", params={"w": w}) as t:
    ...         for _ in range(3):
    ...             loss, w.grad = (w.data - 3) ** 2, 2 * (w.data - 3)
    ...             t.step(loss)
    ...             w.data -= 0.25 * w.grad
    ...     open_run(folder + "/run").loss
    array([4.  , 1.  , 0.25])
    """
    return Trace(**locals())


class Trace(Watching):
    """A run that is being written; see `trace`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        params: Params | Model | None = None,
        model: Model | None = None,
        meta: Mapping[str, Any] | None = None,
        level: str = "auto",
        exist: str = "number",
        checkpoint: int = 50,
        optimizer: Any = None,
        budget: float | None = None,
        progress: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        on_error: str = "raise",
    ) -> None:
        _check_choice("level", level, LEVELS)
        _check_choice("on_error", on_error, ON_ERROR)
        info = {**surroundings(), "level": level, "checkpoint": _checked_interval(checkpoint)}
        info["rank"], info["world_size"] = place_of(rank, world_size)
        info["budget"] = checked_budget(budget)
        info["meta"] = checked_meta(meta)
        info["seed"] = info["meta"].get("seed")
        optimizer = checked_optimizer(optimizer)
        given = given_params(params, model)
        info |= layout_of(given, model)
        info["names"] = None if given is None else list(given)
        self._directory = _new_directory(run_folder(path, info["rank"], info["world_size"]), exist, info)
        self.path = self._directory.path
        self._mutex = threading.Lock()
        self._state = "open"
        self._next_step = 0
        self._last_step: int | None = None
        self._events = Events(self._directory)
        self._filing = Filing(self._directory)
        self._streams: Any = Streams(self._filing, given, level, self._events.say)
        self._updates = Updates(self._events.say, optimizer)
        self._checkpoints = Checkpoints(self._filing, self._updates, self._events.say, checkpoint)
        self._progress: Progress | None = None
        self._watch(model, given or {}, level, checkpoint)
        if budget is not None:
            self.step = self._measured(self.step, Budget(budget))  # type: ignore[method-assign]
        if on_error == "warn":
            self.step = self._forgiven(self.step)  # type: ignore[method-assign]
        if progress:
            self.step = self._shown(self.step, Progress())  # type: ignore[method-assign]
        _open_traces.add(self)

    def step(self, loss: Any, *, step: int | None = None) -> None:
        """Record one iteration: the loss, and every parameter and gradient as they are now.

        Call it after ``loss.backward()`` and before the parameters change. ``loss`` is a scalar Tensor or
        a number; ``step`` is the number of the iteration (default: one more than the last, from 0).
        """
        with self._mutex:
            number = self._next_step if step is None else step_number(step)
            quick = self._streams.quick
            if quick is not None and quick.write(number, loss):
                rows, value, params = quick.written
            else:
                rows, value, params = self._streams.write(number, loss)
            previous, self._last_step = self._last_step, number
            self._next_step = number + 1
            if STEPPED.count != self._updates.seen or rows.is_checkpointed or self._events.waiting:
                self._after(rows, value, params, previous)

    def _after(self, rows: Rows, loss: float, params: Mapping[str, Any], previous: int | None) -> None:
        """Do what is due after a row: see who changed the parameters, write a checkpoint and events."""
        if STEPPED.count != self._updates.seen:
            self._updates.follow(params, previous)
        if rows.is_checkpointed:
            self._checkpoints.after(self._next_step - 1, loss, params, self._streams.look)
        self._events.write()

    def note(self, text: str, **data: Any) -> None:
        """Write a remark of yours into ``events.jsonl``, with numbers and texts that belong to it.

        It belongs to the last step recorded. Reading gives it back in ``run.events``.
        """
        self._write_event("note", text, None, data)

    def event(self, kind: str, text: str, step: int | None = None, **data: Any) -> None:
        """Write an event of a kind of your own into ``events.jsonl``; ``step`` is the last one recorded if not given.

        Raises GradvizValueError for one of the kinds that the trace itself writes: ``structure``, ``level``,
        ``optimizer``, ``update``, ``inputs``, ``missed``, ``end``.
        """
        self._write_event(kind, text, step, data)

    def _write_event(self, kind: str, text: str, step: int | None, data: Mapping[str, Any]) -> None:
        checked_kind(kind, text)
        with self._mutex:
            if self._state == "closed":
                raise TraceError("the trace is closed", hint="write events inside the with block", where=str(self.path))
            if self._state == "open":
                self._events.say(self._last_step if step is None else step_number(step), kind, text, data)
                self._events.write()

    def updates_by(self, kind: str, options: Mapping[str, Any]) -> None:
        """Tell by which rule the parameters change after the last step, as `descend` does.

        ``kind`` is an optimizer of `gradviz.optim`, ``options`` are its settings: ``("SGD", {"lr": 0.1})``.
        """
        with self._mutex:
            if self._state == "open":
                self._updates.tell(kind, options, self._last_step)
                self._events.write()

    # -- what `budget`, `on_error` and `progress` put around a step ------------------------------

    def _measured(self, inner: Callable[..., None], budget: Budget) -> Callable[..., None]:
        """Return a step that takes the time, and lowers the level where it is too long."""

        def step(loss: Any, *, step: int | None = None) -> None:
            budget.begin()
            inner(loss, step=step)
            budget.end()
            if budget.is_exceeded():
                self._lower(budget)

        return step

    def _lower(self, budget: Budget) -> None:
        """Go on with less, and say so."""
        with self._mutex:
            change = self._streams.lower()
            if change is not None:
                text = (
                    f"recording took {budget.cost:.1%} of the time, more than the budget of {budget.limit:.1%}:"
                    f" {WORDS[change[1]]} from here on"
                )
                data = {"from": change[0], "to": change[1], "reason": "budget", "cost": budget.cost}
                self._events.say(self._last_step, "level", text, data | {"budget": budget.limit})
                self._events.write()

    def _forgiven(self, inner: Callable[..., None]) -> Callable[..., None]:
        """Return a step that warns where a row cannot be written, and then writes nothing more."""

        def step(loss: Any, *, step: int | None = None) -> None:
            try:
                inner(loss, step=step)
            except TraceError as error:
                if error.errno is None:
                    raise
                self._give_up(error)

        return step

    def _give_up(self, error: TraceError) -> None:
        with self._mutex:
            self._state = "failed"
            self.step = _silent  # type: ignore[method-assign]
            self._let_go()
        text = f"the trace {self.path} is incomplete, nothing more is written: {error}"
        warnings.warn(text, RuntimeWarning, stacklevel=3 + (self._progress is not None))

    def _shown(self, inner: Callable[..., None], progress: Progress) -> Callable[..., None]:
        """Return a step that shows how it goes."""
        self._progress = progress

        def step(loss: Any, *, step: int | None = None) -> None:
            inner(loss, step=step)
            number = self._last_step if step is None else step
            progress.update(number or 0, scalar_loss(loss), lambda: gradient_norm(self._streams.params))

        return step

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Give back the room not used and let others write here; a second call does nothing."""
        self._close(None)

    def _close(self, error: type[BaseException] | None) -> None:
        with self._mutex:
            if self._progress is not None:
                self._progress.close()
            if self._state != "open":
                return
            self._state = "closed"
            self._stop_watching()
            try:
                self._write_end(error)
            finally:
                self._streams.close()
                self._filing.close()
                self._directory.close()

    def _write_end(self, error: type[BaseException] | None) -> None:
        """Write what is still to be said: the rule of the last update, and that and how the run ended."""
        if STEPPED.count != self._updates.seen:
            self._updates.follow(self._streams.params, self._last_step)
        self._say_missed(error)
        how = "closed" if error is None else f"ended by {error.__name__}"
        data = {"steps": len(self), "error": None if error is None else error.__name__}
        self._events.say(self._last_step, "end", f"{how} after {len(self)} steps", data)
        self._events.write()

    def _let_go(self) -> None:
        """Close everything, whatever of it still can be closed."""
        self._stop_watching()
        self._streams.close()
        for close in (self._filing.close, self._directory.close):
            with contextlib.suppress(OSError):  # it was the reason to give up
                close()

    def _abandon(self) -> None:
        """Write nothing more, and touch nothing: this is the child of a fork."""
        self._mutex = threading.Lock()
        self._state = "abandoned"
        self._streams.close()
        self._filing.abandon()
        self._directory.close()
        self.step = _silent  # type: ignore[method-assign]

    def __enter__(self) -> Trace:
        if self._state == "closed":
            raise TraceError("the trace is closed", hint="open another", where=str(self.path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        if error is None:
            return self.close()
        with contextlib.suppress(OSError):  # the error that ended the block is the one to be seen
            self._close(kind)
        return None

    def __len__(self) -> int:
        return len(self._filing)

    def __bool__(self) -> bool:
        return True  # `if log: log.step(loss)` holds before the first step as well

    def __repr__(self) -> str:
        return f"Trace({str(self.path)!r}, {len(self)} steps, {self._state})"


def _silent(loss: Any, *, step: int | None = None) -> None:
    """Record nothing."""


def _abandon_all() -> None:
    for opened in list(_open_traces):
        opened._abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)


def _new_directory(folder: Path, exist: str, info: Mapping[str, Any]) -> RunDirectory:
    """Claim the directory of a run and write what it is."""
    directory = RunDirectory(folder, exist=exist)
    try:
        directory.write_info(info)
    except BaseException:
        directory.close()
        raise
    return directory


def _check_choice(name: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        raise GradvizValueError(f"{name}={value!r}", hint=f"choose one of {', '.join(known)}")


def _checked_interval(checkpoint: Any) -> int:
    """Return the number of steps from one checkpoint to the next."""
    if isinstance(checkpoint, bool) or not isinstance(checkpoint, int):
        raise GradvizTypeError(f"checkpoint={str(checkpoint)[:80]!r} is no whole number of steps")
    if checkpoint < 1:
        raise GradvizValueError(f"checkpoint={checkpoint}", hint="give the number of steps between two, at least 1")
    return checkpoint
