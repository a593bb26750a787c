"""Programs of PyTorch: every step as its capture has kept it, as rows that hold all there is to be shown of it.

Such a step cannot be computed again, so the numbers of every node of its graph are in the row itself: everything, or
norms with everything at every so manieth step, or statistics. Imported when a model of PyTorch is handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradviz.errors import GradvizValueError, TraceError
from gradviz.graphs import Graph
from gradviz.sources.torch.norms import unseen, viewed
from gradviz.sources.torch.numbers import number, plain
from gradviz.sources.torch.recorder import Capture
from gradviz.tracing.alike import joined, outline
from gradviz.tracing.columns import scalar_loss
from gradviz.tracing.filing import Filing
from gradviz.tracing.foreigncells import differentiated, norms_of, of_form, plain_loss, result_of, single, stats_of
from gradviz.tracing.layout import FLOAT, STATS, Column
from gradviz.tracing.levels import FULL_LIMIT, lower_forms
from gradviz.tracing.rows import Rows
from gradviz.tracing.updates import Say

__all__ = ["ForeignStreams"]

SOURCE = "torch"
MEASURED = {"checkpoint": "norm", "scalars": "norm", "stats": "stats"}
SHAPES: dict[str, tuple[int, ...]] = {"norm": (), "stats": (len(STATS),)}
IDS_LIMIT = 1024  # graphs that are known at a glance
COPIED_LIMIT = 1 << 24  # bytes of a row above which copies cost more than measuring on the spot
WHOLE_LIMIT = 1 << 30  # bytes of a row that is kept whole by "auto"
WHOLE_BIRTHS = 8  # steps that are kept whole because a NaN or an infinity is new in them
WHOLE_STRUCTURES = 16  # that are kept whole at their first step; of a program with more, every so manieth step is

PAIR = ("value", "grad")

Cells = list[Any]  # value and gradient of every parameter, then of every other node: None where there is none


class Stream:
    """What is known of one structure: which of its nodes are the parameters, and who writes its rows."""

    def __init__(self, graph: Graph, names: Sequence[str], apart: frozenset[str]) -> None:
        self.graph = graph
        places = {node.name: node.id for node in graph.nodes if node.kind != "op"}
        self.params = [None if name in apart else places.get(name) for name in names]
        taken = {places[name] for name in names if name in places}
        self.others = [node.id for node in graph.nodes if node.id not in taken]
        self.names = [*names, *(graph.nodes[id].name for id in self.others)]
        self.form = ""  # the one it is written in; "": not yet chosen
        self.first: Rows | None = None  # the segment that has the graph
        self.bad: set[int] = set()  # cells that have held a NaN or an infinity
        self.forms: dict[str, tuple[Rows, list[int], list[int]]] = {}  # rows, cells they hold, and those they do not

    def parts(self) -> list[str]:
        """Return to which part of a row each of its cells belongs."""
        return ["value", "grad"] * len(self.params) + ["node", "grad_node"] * len(self.others)


class ForeignStreams:
    """Writes the steps of a program of PyTorch, each into the segment of its structure.

    ``model`` gives names and scopes, ``given`` are the parameters, ``every`` is the number of steps between two that
    are kept whole where the others are not.
    """

    quick = None

    def __init__(self, filing: Filing, model: Any, given: Mapping[str, Any], level: str, every: int, say: Say) -> None:
        self.params = given
        # sharded parameters: what is computed with is gathered from all processes, what is kept is this one's shard
        self._apart = frozenset(name for name, p in given.items() if hasattr(p, "placements"))
        self._filing = filing
        self._level = level
        self._every = every
        self._since = every  # rows since the last whole one
        self._say = say
        self._streams: dict[int, Stream] = {}  # by the id of the graph
        self._held: list[Graph] = []  # so that no other graph gets the id of one
        self._alike: dict[Any, Stream] = {}
        self._is_closed = self._has_chosen = False
        self._largest = 0  # bytes of a whole row
        self._is_wanted = False  # whether the next step is to be kept whole
        self._births = 0
        self._losses: Rows | None = None  # where nothing but the loss is kept
        self._waiting: Any = None  # a step that has ended and was not written
        self._written: Any = None  # the last one that was
        self._ended = 0  # steps of the program
        self.each: Callable[[], None] | None = None  # called when a step has ended, if nobody else hands over its loss
        self._capture = model if isinstance(model, Capture) else Capture(model, keep=1)
        self._capture.use("full" if level in {"auto", "full"} else "stats")
        self._capture.on_step = self._ends
        if self._capture is not model:  # one that was handed in is begun and ended by its owner
            self._capture.start()

    def _prepare(self) -> None:
        """Have the next step copied, or where that takes long and its row is not to be whole, only measured."""
        if self._level == "auto" and self._largest > COPIED_LIMIT:
            is_due = self._since >= self._every or self._is_wanted
            self._capture.use("full" if is_due and self._largest <= WHOLE_LIMIT else "stats")

    def _ends(self, moment: Any) -> None:
        """Take note that a step has ended."""
        self._waiting = moment
        self._ended += 1
        if self.each is not None:
            self.each()

    def begin_with(self, moment: Any) -> None:
        """Take a step that ended before."""
        self._ends(moment)

    @property
    def is_waiting(self) -> bool:
        """Whether a step has ended that is not written yet."""
        return self._waiting is not None

    @property
    def missed(self) -> int:
        """How many steps the program has made, if none of them was written."""
        if self._written is not None or self._losses is not None:
            return 0
        len(self._capture)  # ends a step whose backward pass is over
        return self._ended

    def write(self, step: int, loss: Any) -> float | None:
        """Write the row of the step that made this loss, and return it; None if it is written already.

        Without a loss it is that of the last backward pass.
        """
        if self._is_closed:
            raise TraceError("the trace is closed", hint="call step() inside the with block", where=self._filing.folder)
        if self._level == "loss" and loss is not None:
            return self._put_loss(step, scalar_loss(plain_loss(loss)))
        moment = self._taken(loss)
        if moment is self._written:
            self._waiting = None
            return None
        with unseen():
            value = self._loss(moment, loss)
            self._write(step, value, moment)
        self._waiting, self._written = None, moment
        self._prepare()
        return value

    def _write(self, step: int, loss: float, moment: Any) -> None:
        """Write the row of a step in the form that is due."""
        stream = self._stream(moment.structure.graph)
        form = self._due(step, stream, moment)
        cells = self._cells(stream, moment, form)
        if form == "checkpoint" and self._has_turned_bad(stream, loss, cells):
            if moment.has_values:
                form, cells = "full", self._cells(stream, moment, "full")
            self._is_wanted = not moment.has_values
        self._put(stream, step, loss, form, cells)
        if form == "full":
            self._since, self._is_wanted = 0, False
        self._since += 1

    def _taken(self, loss: Any) -> Any:
        is_tensor = hasattr(loss, "grad_fn")
        if self._waiting is not None and not is_tensor:
            return self._waiting
        try:
            return self._capture.taken(loss if is_tensor else None)
        except GradvizValueError as error:
            if self._waiting is not None and self._ended == 1 + self._waiting.number:
                return self._waiting  # the root was another tensor: the loss times a factor, as loss scaling does it
            hint = "call loss.backward(), then step(loss), then optimizer.step(), all while the trace is open"
            raise GradvizValueError(error.message, hint=hint) from None

    def _loss(self, moment: Any, loss: Any) -> float:
        if loss is not None:
            return scalar_loss(plain_loss(loss))
        at = result_of(moment)
        if moment.has_values:
            return differentiated(number(moment.calls[at].value), number(moment.calls[at].grad))
        return single(moment.stats()[0][at])

    def _stream(self, graph: Graph) -> Stream:
        """Return the stream of this structure, or of one that is alike but for the numbers in it."""
        found = self._streams.get(id(graph))
        if found is not None:
            return found
        key = outline(graph)
        found = self._alike.get(key)
        whole = graph if found is None else joined(found.graph, graph)
        if found is None or whole is not found.graph:
            found = self._alike[key] = Stream(whole, tuple(self.params), self._apart)
        if len(self._streams) < IDS_LIMIT:
            self._streams[id(graph)] = found
            self._held.append(graph)
        return found

    # -- in which form -------------------------------------------------------------------------

    def _due(self, step: int, stream: Stream, moment: Any) -> str:
        """Return the form of this row."""
        if self._level == "auto" and not stream.form:
            if not moment.has_values:  # a structure that is new, met where steps are only measured
                self._is_wanted = self._largest <= WHOLE_LIMIT
                return "checkpoint"
            stream.form = self._chosen(step, stream, moment)
        form = stream.form if self._level == "auto" else self._level
        if form != "checkpoint" or not moment.has_values:
            return form
        is_new = "full" not in stream.forms and len(self._alike) <= WHOLE_STRUCTURES
        return "full" if is_new or self._is_wanted or self._since >= self._every else form

    def _chosen(self, step: int, stream: Stream, moment: Any) -> str:
        """Choose the form of an automatic level, and say so if it is not everything."""
        cells = self._cells(stream, moment, "full")
        size = sum(cell.nbytes if isinstance(cell, np.ndarray) else 8 for cell in cells if cell is not None)
        if size <= FULL_LIMIT:
            return "full"
        self._largest = max(size, self._largest)
        form = "checkpoint" if size <= WHOLE_LIMIT else "scalars"
        if not self._has_chosen:
            self._has_chosen = True
            reason = f"a full row would take {size} bytes"
            text = f"{reason}: the norm of every node is recorded at each step"
            text += f", and everything at every {self._every}th" if form == "checkpoint" else ", and nothing else"
            data = {"from": "full", "to": form, "reason": reason, "cost": None, "budget": None}
            self._say(step, "level", text, data)
        return form

    def _has_turned_bad(self, stream: Stream, loss: float, cells: Cells) -> bool:
        """Tell whether a NaN or an infinity is where none was before: such a step is kept whole, to find the birth."""
        if math.isfinite(loss) and all(map(math.isfinite, filter(None, cells))):
            return False
        bad = {i for i, cell in enumerate(cells) if cell is not None and not math.isfinite(cell)} | {-1}
        is_new = bool(bad - stream.bad) and self._births < WHOLE_BIRTHS
        stream.bad |= bad
        self._births += is_new
        return is_new

    # -- the numbers ---------------------------------------------------------------------------

    def _cells(self, stream: Stream, moment: Any, form: str) -> Cells:
        """Return value and gradient of everything in this form."""
        if form == "full":
            numbers = [(viewed(call.value), viewed(call.grad)) for call in moment.calls]
        elif moment.has_values:
            numbers = self._measured(moment)
        else:
            numbers = self._from_stats(moment, form)
        cells: Cells = []
        for place, p in zip(stream.params, self.params.values(), strict=True):
            cells += self._outside(p, form) if place is None else numbers[place]
        for place in stream.others:
            cells += numbers[place]
        return cells

    def _measured(self, moment: Any) -> list[tuple[Any, Any]]:
        """Return the norms of what the capture has copied."""
        with np.errstate(all="ignore"):
            return list(zip(*(norms_of([getattr(c, name) for c in moment.calls]) for name in PAIR), strict=True))

    def _from_stats(self, moment: Any, form: str) -> list[tuple[Any, Any]]:
        """Take what the capture has measured."""
        values, grads = moment.stats()
        pairs = zip(moment.calls, values, grads, strict=True)
        return [(of_form(value, call, form), of_form(grad, call, form)) for call, value, grad in pairs]

    def _outside(self, p: Any, form: str) -> tuple[Any, Any]:
        """Return value and gradient of a parameter that this step has not used."""
        if form == "full":
            return number(p), number(p.grad)
        if form == "stats":
            return stats_of(number(p)), stats_of(number(p.grad))
        with np.errstate(all="ignore"):
            value, grad = norms_of([p, p.grad])
        return value, grad

    # -- the rows ------------------------------------------------------------------------------

    def _put(self, stream: Stream, step: int, loss: float, form: str, cells: Cells) -> None:
        """Write one row; if it does not fit the segment, begin one that it fits."""
        filing = self._filing
        if filing.has_index:
            filing.reserve()
        known = stream.forms.get(form)
        if known is not None:
            rows, held, left = known
            if all(cells[i] is None for i in left) and rows.write(step, loss, [cells[i] for i in held]):
                filing.enter(step, rows)
                return
        rows = self._begun(stream, step, form, cells)
        rows.write(step, loss, [cells[i] for i in stream.forms[form][1]])
        filing.enter(step, rows)

    def _put_loss(self, step: int, loss: float) -> float:
        """Write a row that holds nothing but the loss."""
        if self._losses is None:
            self._losses = self._filing.segment((), (), "loss", None)
        if self._filing.has_index:
            self._filing.reserve()
        self._losses.write(step, loss, [])
        self._filing.enter(step, self._losses)
        return loss

    def _begun(self, stream: Stream, step: int, form: str, cells: Cells) -> Rows:
        """Begin a segment for everything that is there now, or was in an earlier one of this form."""
        earlier = set(stream.forms[form][1]) if form in stream.forms else set()
        held, columns = [], []
        for i, part in enumerate(stream.parts()):
            column = self._column(stream, i, part, form, cells)
            is_expected = i in earlier or part == "grad"  # it may come back, or come yet
            if column is not None and (cells[i] is not None or (column.is_optional and is_expected)):
                held.append(i)
                columns.append(column)
        rows = self._filing.recorded(tuple(columns), stream.graph, SOURCE, stream.first)
        stream.forms[form] = rows, held, sorted(set(range(len(cells))) - set(held))
        if stream.first is None:
            stream.first = rows
            text = f"segment {rows.number} begins: a graph of {len(stream.graph)} nodes"
            self._say(step, "structure", text, {"segment": rows.number, "fingerprint": stream.graph.fingerprint()})
        return rows

    def _column(self, stream: Stream, i: int, part: str, form: str, cells: Cells) -> Column | None:
        """Return the column of a cell; None if its value is not known, so that nothing says how large it is."""
        like, name = cells[i - i % 2], stream.names[i // 2]
        cell = like if cells[i] is None else cells[i]
        if cell is None:
            return None
        if form == "full":
            is_array = isinstance(cell, np.ndarray)
            return Column(name, part, cell.dtype.str, cell.shape) if is_array else Column(name, part)
        place = [*stream.params, *stream.others][i // 2]
        shape = (
            stream.graph.nodes[place].shape
            if place is not None
            else tuple(getattr(plain(self.params[name]), "shape", ()))
        )
        if not shape:
            return Column(name, part)
        measure = MEASURED[form]
        return Column(name, measure if part == "value" else f"{part}_{measure}", FLOAT, SHAPES[measure])

    def lower(self) -> tuple[str, str] | None:
        """Go on in the next cheaper form; return the old one and the new one, None if there is none."""
        form = ("checkpoint" if self._has_chosen else "full") if self._level == "auto" else self._level
        lower = lower_forms(form, has_arrays=True)
        if not lower:
            return None
        self._level = lower[0]
        if lower[0] == "scalars" and self._largest > COPIED_LIMIT:
            self._capture.use("stats")
        if lower[0] == "loss":
            self._capture.on_step = self._waiting = None
            self._capture.stop()
        for stream in self._alike.values():
            stream.form = ""
        return form, lower[0]

    def close(self) -> None:
        """Write nothing more, and leave nothing behind in the program."""
        self._is_closed = True
        self._capture.on_step = None
        self._capture.stop()
        self._streams.clear()
        self._alike.clear()
        self._held.clear()
        self._waiting = self._written = None
