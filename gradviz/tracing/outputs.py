"""What a run can be turned into: tables, findings, plots, a page. Each is a module of its own, imported when asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradviz.rules import Finding

__all__ = ["Outputs"]


class Outputs:
    """The part of `gradviz.Run` that hands it on to others."""

    def export(self: Any, path: str | os.PathLike[str]) -> Path:
        """Write the run as a table, one column per number: ``step, time, loss, w, w.grad, "W[0,1]", ...``.

        The suffix decides the format: ``.csv .jsonl .parquet .sqlite`` (Parquet needs the extra ``query``).
        Floats are written so that they read back exactly. Returns the path.
        """
        from gradviz.tracing.exports import export

        return export(self.still, Path(path))

    def to_pandas(self: Any) -> Any:
        """Return the run as a pandas DataFrame, indexed by step, one column per number (extra ``query``)."""
        from gradviz.tracing.exports import to_pandas

        return to_pandas(self.still)

    def to_tensorboard(self: Any, folder: str | os.PathLike[str]) -> Path:
        """Write the run as TensorBoard event files into ``folder`` (extra ``tensorboard``)."""
        from gradviz.tracing.tensorboard import to_tensorboard

        return to_tensorboard(self.still, Path(folder))

    def query(self: Any, sql: str) -> Any:
        """Answer an SQL question about the table ``run`` with DuckDB, as a DataFrame (extra ``query``).

        It has the columns of `to_pandas` and the norms of the arrays; of runs with more than 2,000 numbers a
        step, only scalars and norms. A number that was not recorded is NULL. The table ``meta`` has one row.
        The SQL cannot read or write any file. Raises GradvizValueError if DuckDB does not understand it.
        """
        from gradviz.tracing.warehouse import ask, tables_of_run

        return ask(tables_of_run(self.still), sql)

    def findings(self: Any, rules: Sequence[str] | None = None) -> list[Finding]:
        """Judge the run by the health rules (all, or those named); the most serious finding comes first."""
        from gradviz.rules import check

        return check(self.still, rules)

    def plot(self: Any, kind: str = "loss", **options: Any) -> Any:
        """Plot the run with matplotlib (extra ``plot``) and return the Axes; see `gradviz.views.plot`."""
        from gradviz.views.plot import plot

        return plot(self.still, kind, **options)

    def save(self: Any, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write the report of the run, one self-contained page that needs no network: ``run.save("report.html")``."""
        from gradviz.views.page import save

        return save(self.still, Path(path), **options)
