"""Steps that cannot be computed again, as frames: every number that was recorded, and what follows from those alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradviz.graphs import Frame, Graph, Node
from gradviz.tracing.opening import RunFiles, StructureRows

__all__ = ["KeptNumbers", "KeptSteps", "is_kept", "is_whole", "kept_frame"]

WHOLE = frozenset(("value", "grad", "node", "grad_node"))
PARTS = {"value": ("value", "node"), "grad": ("grad", "grad_node")}
NORMS = {"value": ("norm", "node_norm"), "grad": ("grad_norm", "grad_node_norm")}
STATS = {"value": ("stats", "node_stats"), "grad": ("grad_stats", "grad_node_stats")}
NORM = 3  # of the seven statistics
Norms = list[float | None]
MARKS = frozenset(("origin",))  # attributes that are no argument of the op


class KeptSteps:
    """The part of `gradviz.Run` that is about steps that cannot be computed again."""

    @property
    def nodes(self: Any) -> tuple[str, ...]:
        """The names of the nodes that were recorded beside the parameters, for they cannot be computed again."""
        run = self.now
        recorded = (name for part in run._files.segments.values() for name in part.nodes)
        found: tuple[str, ...] = run._cached("nodes", lambda: run._in_sight(recorded))
        return found

    @property
    def measured(self: Any) -> tuple[str, ...]:
        """The names of everything that only norms or statistics are known of in some steps."""
        run = self.now
        parts = [part for part in run._files.segments.values() if is_kept(run._files, part) and not is_whole(part)]
        found: tuple[str, ...] = run._in_sight(name for part in parts for name in (*part.names, *part.nodes))
        return found

    def whole_positions(self: Any) -> np.ndarray | None:
        """Return the positions of the steps that hold every number; None for a run that can be computed again."""
        run = self.now
        parts = {number: run._files.segments[number] for number in np.unique(run._order[:, 0]).tolist()}
        if not any(is_kept(run._files, part) for part in parts.values()):
            return None
        whole = [number for number, part in parts.items() if is_whole(part)]
        return np.flatnonzero(np.isin(run._order[:, 0], whole))

    def node_norms(self: Any, position: int) -> tuple[Norms, Norms] | None:
        """Return the norms of value and gradient of every node at a position, as recorded; None if nothing was."""
        number, row = self.now._order[position].tolist()
        part = self._files.segments[number]
        return kept_norms(part, row, part.graph) if is_kept(self._files, part) and part.graph is not None else None


def is_kept(files: RunFiles, part: StructureRows) -> bool:
    """Tell whether the steps of a segment hold all that is to be shown of them."""
    return files.records.source(part.number) is not None


def is_whole(part: StructureRows) -> bool:
    """Tell whether the rows of a segment hold every number, and not norms or statistics."""
    parts = {column.part for column in part.rows.layout.columns}
    return bool(parts) and parts <= WHOLE


def kept_frame(files: RunFiles, part: StructureRows, row: int, graph: Graph) -> Frame:
    """Return the frame of a row; ``meta["replay"]`` is ``"exact"``, or says that only norms or statistics are there."""
    rows = np.array([row])
    step, time, loss = (part.rows.head(name, rows)[0].item() for name in ("step", "time", "loss"))
    found = {what: [_whole(part, rows, node, names) for node in graph.nodes] for what, names in PARTS.items()}
    damaged = [column.name for column in part.rows.layout.columns if part.rows.is_damaged(column, row)]
    values, grads = found["value"], found["grad"]
    if graph.outputs and values[graph.outputs[0]] is None and not graph.nodes[graph.outputs[0]].shape:
        values[graph.outputs[0]] = loss
    why = (
        f"{damaged[0]!r} is damaged in the trace" if damaged else "exact" if is_whole(part) else _less(files, part, row)
    )
    meta = {"time": time, "replay": why, "source": files.records.source(part.number), "how": "recorded"}
    return Frame(graph, values, grads, KeptNumbers(graph, values, grads), step, meta)


def _whole(part: StructureRows, rows: np.ndarray, node: Node, kinds: Sequence[str]) -> Any:
    """Return a number of a node; None if what was recorded is the shard of one of several processes."""
    number = _read(part, rows, node, kinds)
    return number if np.shape(number) == node.shape else None


def _read(part: StructureRows, rows: np.ndarray, node: Node, kinds: Sequence[str]) -> Any:
    """Return a number of a node as it was recorded; None if it was not."""
    column = next((c for kind in kinds if (c := part.rows.columns.get((node.name, kind))) is not None), None)
    if column is None:
        return None
    numbers, there = part.rows.read(column, rows)
    if not there[0]:
        return None
    return numbers[0].item() if column.is_scalar else numbers[0, ...]


def kept_norms(part: StructureRows, row: int, graph: Graph) -> tuple[Norms, Norms]:
    """Return the norms of values and gradients of every node, as far as a row tells them; of a number its size."""
    rows = np.array([row])
    found: list[Norms] = []
    for what in ("value", "grad"):
        norms = [_read(part, rows, node, NORMS[what]) for node in graph.nodes]
        stats = [_read(part, rows, node, STATS[what]) for node in graph.nodes]
        whole = [_read(part, rows, node, PARTS[what]) for node in graph.nodes]
        found.append([_size(*numbers) for numbers in zip(norms, stats, whole, strict=True)])
    return found[0], found[1]


def _size(norm: Any, stats: Any, number: Any) -> float | None:
    if norm is not None:
        return float(norm)
    if stats is not None:
        return float(stats[NORM])
    return None if number is None else float(np.linalg.norm(np.asarray(number).reshape(-1)))


def _less(files: RunFiles, part: StructureRows, row: int) -> str:
    """Say what is known of a row that does not hold everything, and where more is."""
    kinds = {column.part for column in part.rows.layout.columns}
    if not kinds:
        return "nothing but the loss was recorded at this step"
    what = "statistics" if any("stats" in kind for kind in kinds) else "norms"
    whole = [number for number, other in files.segments.items() if is_whole(other)]
    steps = files.head("step")[np.isin(files.order[:, 0], whole)]
    if not len(steps):
        return f'only the {what} of arrays were recorded: trace with level="full" for every number'
    at = int(part.rows.head("step", np.array([row]))[0])
    near = sorted({*steps[steps < at][-1:].tolist(), *steps[steps > at][:1].tolist()})
    shown = " and ".join(map(str, near))
    are = "are steps" if len(near) > 1 else "is step"
    return (
        f"only the {what} of arrays were recorded at this step: the nearest with every number {are} {shown};"
        ' for more of them trace with level="full" or a smaller checkpoint'
    )


class KeptNumbers:
    """What the edges of a recorded graph contribute, as far as the numbers of its nodes tell; see `EdgeNumbers`.

    A node that is used once has its gradient from that use, but for a leaf, which may hold those of other steps too. Of
    one with several uses, ops that are known by name are worked out (sums, products, elementwise functions,
    ``linear``), and what a last, unknown one sent is what is left of the gradient. Other contributions are not known:
    None.
    """

    def __init__(self, graph: Graph, values: Sequence[Any], grads: Sequence[Any]) -> None:
        self._graph = graph
        self._values = values
        self._grads = grads
        self._uses: list[list[tuple[int, int]]] | None = None
        self._rules: Any = None

    def grad(self, src: int, dst: int, arg: int) -> Any:
        """Return what this edge contributed to the gradient of ``src``; None if nothing flows or it is not known."""
        total = self._grads[src]
        if total is None:
            return None
        live = [use for use in self._used(src) if self._is_live(*use)]
        if (dst, arg) not in live:
            return None
        is_result = src in self._graph.outputs
        is_only = len(live) == 1 and not is_result
        if is_only and self._graph.nodes[src].kind == "op":
            return total
        found = self._sent_on(dst, arg)
        if is_only:
            return total if found is None or _is_near(found, total) else found
        if found is not None or is_result:
            return found
        others = [self._sent_on(*use) for use in live if use != (dst, arg)]
        if any(other is None for other in others):
            return None
        with np.errstate(all="ignore"):
            left = _left(np.asarray(total), np.sum(others, axis=0))
        return left if np.shape(total) else float(left)

    def local(self, src: int, dst: int, arg: int) -> Any:
        """Return d(dst)/d(src) by this argument, if both are scalars or the op is elementwise; None if not known."""
        y = self._values[dst]
        if y is None or self._graph.nodes[src].kind == "const" or not self._has_rule(dst):
            return None
        return self._asked("local", src, dst, arg)

    def sent(self, dst: int, arg: int, g: Any) -> Any:
        """Return what ``dst`` sends to this argument when its own gradient is ``g``; None if that is not known."""
        if g is None:
            return None
        if self._graph.nodes[dst].op == "linear":
            return self._sent_by_linear(dst, arg, g)
        found = self._asked("sent", dst, arg, g) if self._has_rule(dst) else None
        if found is None:
            return None
        src = self._values[self._graph.nodes[dst].inputs[arg]]
        return found if np.shape(found) == np.shape(src) else None

    def needed(self, dst: int, arg: int, mask: Any) -> Any:
        """Return which elements of an operand those of the result in ``mask`` come from; None if that is not known."""
        return self._asked("needed", dst, arg, mask) if self._has_rule(dst) else None

    def is_elementwise(self, dst: int) -> bool:
        """Tell whether each element of the result depends on one element of each operand."""
        from gradviz.sources import own

        look = own.look_of(_known_as(self._graph.nodes[dst].op))
        return bool(look is not None and look[2])

    def is_registered(self, dst: int) -> bool:
        """Tell whether the rule of a node is the user's own: that is not known here."""
        return False

    def having(self, grads: Sequence[Any]) -> KeptNumbers:
        """Return the numbers of the same graph with other gradients."""
        return KeptNumbers(self._graph, self._values, grads)

    # -- working them out ----------------------------------------------------------------------

    def _used(self, src: int) -> list[tuple[int, int]]:
        if self._uses is None:
            self._uses = [[] for _ in self._graph.nodes]
            for used, dst, arg in self._graph.edges:
                self._uses[used].append((dst, arg))
        return self._uses[src]

    def _is_live(self, dst: int, arg: int) -> bool:
        """Tell whether a gradient may come through this use: an op with several results has it at those."""
        if arg < len(self._graph.nodes[dst].formulas) and self._graph.nodes[dst].formulas[arg] == "0":
            return False
        return self._grads[dst] is not None or self._values[dst] is None

    def _sent_on(self, dst: int, arg: int) -> Any:
        """Return what a node sends of the gradient that it has."""
        return self.sent(dst, arg, self._grads[dst])

    def _sent_by_linear(self, dst: int, arg: int, g: Any) -> Any:
        """Return what ``y = x @ w.T + b`` sends to x, w or b."""
        x, w = (self._values[src] for src in self._graph.nodes[dst].inputs[:2])
        if x is None or w is None or np.ndim(w) != 2:
            return None
        with np.errstate(all="ignore"):
            if arg == 0:
                return g @ w
            rows = np.reshape(g, (-1, np.shape(g)[-1]))
            return rows.T @ np.reshape(x, (-1, np.shape(x)[-1])) if arg == 1 else rows.sum(axis=0)

    def _has_rule(self, dst: int) -> bool:
        """Tell whether an op is one of ours by name, and was given nothing but its operands."""
        node = self._graph.nodes[dst]
        if set(node.attrs) - MARKS or any(self._values[src] is None for src in node.inputs):
            return False
        return len(node.formulas) == len(node.inputs) and (self.is_elementwise(dst) or node.op == "matmul")

    def _asked(self, what: str, *about: Any) -> Any:
        """Ask the rules of the engine; whatever one does not take is not known."""
        if self._rules is None:
            from gradviz.sources import own

            nodes = [self._translated(node) for node in self._graph.nodes]
            stand_in: Any = SimpleNamespace(nodes=nodes)
            self._rules = own.edge_numbers(stand_in, self._values, self._grads)
        try:
            with np.errstate(all="ignore"):
                return getattr(self._rules, what)(*about)
        except Exception:  # an op of another library may differ from ours of the same name in any way
            return None

    def _translated(self, node: Node) -> Node:
        attrs: Mapping[str, Any] = {}
        return replace(node, op=_known_as(node.op) if self._has_rule(node.id) else "", attrs=attrs)


def _left(total: np.ndarray, others: Any) -> np.ndarray:
    """Return what is left of a gradient; where it is not finite, all of it if the others do not explain that."""
    unexplained = np.where(np.isfinite(others), total, 0)
    return np.where(np.isfinite(total), total - others, unexplained).astype(total.dtype)


def _is_near(found: Any, total: Any) -> bool:
    """Tell whether two gradients differ by rounding only."""
    found, total = np.asarray(found), np.asarray(total)
    with np.errstate(all="ignore"):
        size = np.finfo(total.dtype).eps ** 0.5 * np.linalg.norm(total) if total.dtype.kind == "f" else 0.0
        return bool(np.array_equal(found, total, equal_nan=True) or np.linalg.norm(found - total) <= size)


def _known_as(op: str) -> str:
    """Return the name of an op without the sign that it works in place."""
    return op.removesuffix("_")
