"""A run as a file that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gradviz.errors import GradvizValueError
from gradviz.tracing.table import write_csv

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["export"]


def export(run: Run, path: Path) -> Path:
    """Write the run in the format that the suffix names."""
    if path.suffix.lower() != ".csv":
        raise GradvizValueError(f"cannot export to {str(path)[-80:]!r}", hint="choose a name that ends in .csv")
    return write_csv(run, path)
