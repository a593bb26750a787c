"""The quick way from a loss to a row: for graphs of scalars that are built again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gradviz.tracing.parameters import has_graph
from gradviz.tracing.rows import Rows, ScalarRows
from gradviz.tracing.varying import Watch

__all__ = ["Quick", "quick_way"]


class Quick(NamedTuple):
    """One function that reads all numbers of a step, or finds that it is another; who writes them; the parameters."""

    glance: Callable[[Any, Mapping[str, Any]], tuple[float, ...] | None]
    rows: ScalarRows
    params: Mapping[str, Any]


def quick_way(rows: Rows, watch: Watch | None, loss: Any, params: Mapping[str, Any]) -> Quick | None:
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
    return None if glance is None else Quick(glance, rows, params)
