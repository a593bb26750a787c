"""Pictures by what made them: what has been drawn once is not drawn again until something it depends on changes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradviz
from gradviz.files import write_atomically
from gradviz.sphinxext.picking import in_theme
from gradviz.views.drawing import Drawing

if TYPE_CHECKING:
    from sphinx.environment import BuildEnvironment

    from gradviz.views.motion import Animation

__all__ = ["Store", "digest", "local_modules", "used_in"]

PREFIX = "gradviz-"
LENGTH = 20  # hexadecimal digits of a key
BUILDERS: set[str] = set()  # names of modules that no picture depends on
OURS = re.compile(rf"{PREFIX}([0-9a-f]{{{LENGTH}}})(-dark|-still)?\.(svg|pdf|png|json)")


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


@cache
def package_state() -> str:
    """Return a digest of gradviz itself: its version, and which files it consists of at present."""
    files = sorted(path for path in Path(gradviz.__file__).parent.rglob("*") if path.suffix in {".py", ".css", ".js"})
    return digest(gradviz.__version__, [(path.name, (at := path.stat()).st_size, at.st_mtime_ns) for path in files])


def forget_modules() -> None:
    """Take what is imported by now for the builder's own."""
    BUILDERS.clear()
    BUILDERS.update(sys.modules)


def local_modules(folder: Path) -> Iterator[Path]:
    """Yield the files of the modules that code has imported from a folder or below: what a script there depends on."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) if name not in BUILDERS else None
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
            same = [_content(Path(file)) == content for file, content in found["modules"].items()]
            fresh = found["gradviz"] == package_state() and all(same)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        whole = all(self.path(key, suffix).is_file() for suffix in found["suffixes"])
        return found if fresh and whole else None

    def keep(self, key: str, picture: Drawing | Animation, modules: Iterable[Path]) -> dict[str, Any]:
        """Draw, and write the pictures and what is known of them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        theme = picture.options.theme
        themes = {".svg": "light", "-dark.svg": "dark"} if theme == "auto" else {".svg": theme}
        drawn = {suffix: in_theme(picture, theme) for suffix, theme in themes.items()}
        svgs = {suffix: one.svg for suffix, one in drawn.items()}
        if not isinstance(first := drawn[".svg"], Drawing):  # for builders in which nothing moves
            svgs["-still.svg"] = first.strip().svg
        for suffix, svg in svgs.items():
            write_atomically(self.path(key, suffix), svg)
        known = {os.fspath(file): _content(file) for file in sorted(set(modules))}
        record = {"alt": told(svgs[".svg"]), "suffixes": list(themes), "theme": theme, "modules": known}
        record["gradviz"] = package_state()
        write_atomically(self.path(key, ".json"), json.dumps(record))
        return record

    def prune(self, keys: set[str], images: Path) -> None:
        """Delete what belongs to no key, here and among the images of the site."""
        for folder in (self.folder, images):
            for path in folder.glob(f"{PREFIX}*"):
                ours = OURS.fullmatch(path.name)
                if ours and ours[1] not in keys:
                    path.unlink(missing_ok=True)


def told(svg: str) -> str:
    """Return what an SVG says of itself: its title and its description.

    >>> told("<svg><title>A</title><desc>1 &lt; 2</desc></svg>")
    'A: 1 < 2'
    """
    found = ET.fromstring(svg)
    return ": ".join(filter(None, (found.findtext("{*}title"), found.findtext("{*}desc"))))


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
