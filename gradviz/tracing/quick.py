"""The quick way from a loss to a row: for graphs of scalars that are built again and again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gradviz.tracing.filing import Filing
from gradviz.tracing.parameters import has_graph
from gradviz.tracing.rows import Rows, ScalarRows
from gradviz.tracing.varying import Watch

__all__ = ["Quick", "quick_way"]

Glance = Callable[[Any, Mapping[str, Any]], tuple[float, ...] | None]


class Quick(NamedTuple):
    """A function that writes the row of a step, or finds that something is not as before; and what it writes.

    ``written`` is what `Streams.write` returns, but for the loss, which is asked for at checkpoints only.
    """

    write: Callable[[int, Any], bool]
    written: tuple[Rows, float, Mapping[str, Any]]


def quick_way(filing: Filing, rows: Rows, watch: Watch | None, loss: Any, params: Mapping[str, Any]) -> Quick | None:
    """Return the quick way to write rows like that of this loss, which has just been written; None if there is none."""
    if watch is None or not isinstance(rows, ScalarRows) or not all(map(has_graph, params.values())):
        return None
    from gradviz.sources import own

    graph = own.graph(loss)
    ids, read = own.leaf_reader(loss, graph)
    values = read(loss)
    fixed, varying = watch.watched
    in_order = {name: params[name] for name in rows.names}
    glance = own.glance(loss, graph, in_order, {ids[i]: values[i] for i in fixed}, [ids[i] for i in varying])
    return None if glance is None else Quick(_writer(filing, rows, glance, params), (rows, math.nan, params))


def _writer(filing: Filing, rows: ScalarRows, glance: Glance, params: Mapping[str, Any]) -> Callable[[int, Any], bool]:
    """Return the function that writes a row if one glance finds everything as before."""
    store = rows.store

    def write(step: int, loss: Any) -> bool:
        numbers = glance(loss, params)
        if numbers is None:
            return False
        if not filing.has_index:
            store(step, numbers)
            return True
        filing.reserve()
        store(step, numbers)
        filing.enter(step, rows)
        return True

    return write
