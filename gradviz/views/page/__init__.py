"""The report of a run: one self-contained page of HTML that goes through every step of the training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradviz.errors import GradvizValueError
from gradviz.escape import clean
from gradviz.files import write_atomically
from gradviz.style import Options
from gradviz.views.page.writer import to_html

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["page_of", "save"]

SUFFIXES = (".html", ".htm")
LOOKS = ("title", "theme", "precision", "engine", "timeout")


def save(run: Run, path: Path, **options: Any) -> Path:
    """Write the report of a run to ``path`` and return the path; for the options see `page_of`.

    Raises `GradvizValueError` naming a bad option or suffix and `MissingFolderError` where the folder is missing.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise GradvizValueError(
            f"a report is a page, not {clean(path.name, 80)!r}", hint="choose a name like report.html"
        )
    return write_atomically(path, page_of(run, **options))


def page_of(run: Run, **options: Any) -> str:
    """Return the report of a run as HTML.

    ``options`` are ``title``, ``steps`` (shown at most; default: as many as make a handy file),
    ``direction`` (auto, LR or TB), ``theme`` (auto, light, dark or print), ``precision`` (digits),
    ``engine`` and ``timeout`` (seconds for one layout). Raises `GradvizValueError` naming a bad one.
    """
    allowed = (*LOOKS, "direction", "steps")
    unknown = next((name for name in options if name not in allowed), None)
    if unknown is not None:
        raise GradvizValueError(f"a report has no option {unknown[:80]!r}", hint=f"allowed: {', '.join(allowed)}")
    look = Options(**{name: options[name] for name in LOOKS if name in options})
    return to_html(run, direction=options.get("direction", "auto"), steps=options.get("steps"), options=look)
