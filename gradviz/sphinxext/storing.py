"""Pictures by what made them: what has been drawn once is not drawn again until something it depends on changes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradviz.files import write_atomically
from gradviz.views.svg import describe, title_of

if TYPE_CHECKING:
    from sphinx.environment import BuildEnvironment

    from gradviz.views.drawing import Drawing

__all__ = ["Store", "digest", "local_modules", "used_in"]

PREFIX = "gradviz-"
LENGTH = 20  # hexadecimal digits of a key
OURS = re.compile(rf"{PREFIX}([0-9a-f]{{{LENGTH}}})(-dark)?\.(svg|pdf|png|json)")


def digest(*parts: object) -> str:
    """Return a short name for everything a picture depends on.

    >>> digest("a", ("b", None)) == digest("a", ("b", None)) != digest("ab")
    True
    """
    text = json.dumps(parts, default=str, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:LENGTH]


def used_in(env: BuildEnvironment) -> dict[str, set[str]]:
    """Return which pictures every page shows, as the environment of Sphinx remembers it."""
    if not hasattr(env, "gradviz_used"):
        env.gradviz_used = {}  # type: ignore[attr-defined]
    found: dict[str, set[str]] = env.gradviz_used  # type: ignore[attr-defined]
    return found


def local_modules(folder: Path) -> Iterator[Path]:
    """Yield the files of the modules imported from a folder or below: what a script there may depend on."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        path = Path(file) if isinstance(file, str) else Path()
        if path.suffix == ".py" and path.is_relative_to(folder) and "site-packages" not in path.parts:
            yield path


class Store:
    """The folder of pictures beside the doctrees; ``record`` of a key says what its pictures are."""

    def __init__(self, doctrees: Path) -> None:
        self.folder = doctrees / "gradviz"

    def path(self, key: str, suffix: str) -> Path:
        """Return the path of one file of a picture.

        >>> Store(Path("d")).path("12", "-dark.svg").as_posix()
        'd/gradviz/gradviz-12-dark.svg'
        """
        return self.folder / f"{PREFIX}{key}{suffix}"

    def has(self, key: str) -> bool:
        """Whether a picture is whole."""
        return self.record(key) is not None

    def record(self, key: str) -> dict[str, Any] | None:
        """Return what is known of a picture, or None if it has to be made: unknown, in pieces, or out of date."""
        try:
            found: dict[str, Any] = json.loads(self.path(key, ".json").read_text("utf-8"))
            fresh = all(_content(Path(file)) == content for file, content in found["modules"].items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        whole = all(self.path(key, suffix).is_file() for suffix in found["suffixes"])
        return found if fresh and whole else None

    def keep(self, key: str, drawing: Drawing, modules: Iterable[Path]) -> dict[str, Any]:
        """Draw, and write the pictures and what is known of them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        both = drawing.options.theme == "auto"
        themes = {".svg": "light", "-dark.svg": "dark"} if both else {".svg": drawing.options.theme}
        for suffix, theme in themes.items():
            drawn = replace(drawing, options=replace(drawing.options, theme=theme))
            write_atomically(self.path(key, suffix), drawn.svg)
        alt = f"{title_of(drawing.frame, drawing.options)}: {describe(drawing.frame, drawing.options)}"
        known = {os.fspath(file): _content(file) for file in sorted(set(modules))}
        record = {"alt": alt, "suffixes": list(themes), "theme": drawing.options.theme, "modules": known}
        write_atomically(self.path(key, ".json"), json.dumps(record))
        return record

    def prune(self, keys: set[str], images: Path) -> None:
        """Delete what belongs to no key, here and among the images of the site."""
        for folder in (self.folder, images):
            for path in folder.glob(f"{PREFIX}*"):
                ours = OURS.fullmatch(path.name)
                if ours and ours[1] not in keys:
                    path.unlink(missing_ok=True)


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
