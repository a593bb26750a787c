"""The report of a run: what happened as data, what can be read without scripts, and the page around both."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gradviz import escape
from gradviz.errors import GradvizValueError
from gradviz.graphs import Frame
from gradviz.style import DIRECTIONS, Options
from gradviz.views.page.scenes import Scene
from gradviz.views.page.shell import shell
from gradviz.views.page.still import still
from gradviz.views.page.story import Story
from gradviz.views.page.views import of_a_size

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["Report", "to_html"]

SCENES = 4  # structures that are drawn, the most frequent ones
DAMAGE = 20  # notes about damaged files
EXACT = "exact"
PLACES = re.compile(r"\{(still|title|about)\}")
FOLDER = files("gradviz.views.page")
SCRIPTS = (
    "elements.js",
    "numbers.js",
    "unpack.js",
    "model.js",
    "picture.js",
    "camera.js",
    "charts.js",
    "timeline.js",
    "panels.js",
    "details.js",
    "search.js",
    "keys.js",
    "main.js",
)


def to_html(run: Run, *, direction: str = "auto", steps: int | None = None, options: Options | None = None) -> str:
    """Return the report of a run as one page of HTML.

    ``steps`` is how many steps are shown at most. Raises `GradvizValueError` for a bad option and
    what the layout raises.
    """
    if direction not in ("auto", *DIRECTIONS):
        raise GradvizValueError(
            f"direction={str(direction)[:80]!r} is no direction", hint="allowed: 'auto', 'LR', 'TB'"
        )
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 2):
        raise GradvizValueError(f"steps={str(steps)[:80]!r} is no number of steps", hint="give 2 or more")
    return Report(Story(run, steps), options or Options(), direction).text()


@dataclass
class Report:
    """Puts the report together."""

    story: Story
    options: Options
    direction: str

    def text(self) -> str:
        """Return the page."""
        shown = self._frames()
        figures, styles = still(self.story, shown.last, self.options)
        data = {
            "title": self.title,
            "precision": self.options.precision,
            **self.story.data(),
            **shown.data(),
            "meta": [
                [escape.clean(str(key), 60), escape.clean(str(value))] for key, value in self.story.run.meta.items()
            ],
            "damage": [escape.clean(note, 400) for note in self.story.run.damage[:DAMAGE]],
        }
        parts = {
            "still": figures,
            "title": escape.for_html(self.title),
            "about": escape.for_html(self.story.about, None),
        }
        body = FOLDER.joinpath("page.html").read_text("utf-8")
        return shell(
            title=self.title,
            about=self.story.about,
            theme=self.options.theme,
            styles=[FOLDER.joinpath("page.css").read_text("utf-8"), *styles],
            body=PLACES.sub(lambda hit: parts[hit[1]], body),
            data=data,
            script=script(),
        )

    @property
    def title(self) -> str:
        """The title given, or the name of the run's folder."""
        return escape.clean(self.options.title or self.story.run.path.resolve().name or "run")

    def _frames(self) -> Shown:
        """Go through the steps that are shown, once."""
        shown = Shown()
        prints = [graph.fingerprint() if graph else "" for graph in self.story.structures()]
        drawn = {found for found, _ in Counter(prints).most_common(SCENES)}
        steps = self.story.steps[self.story.kept].tolist()
        for place, frame in enumerate(self.story.run.frames(steps)):
            shown.last = frame
            shown.notes.append(str(frame.meta.get("replay", "")))
            shown.structures.append(prints[place])
            if prints[place] in drawn:
                part, whole = of_a_size(frame), len(frame.graph)
                if prints[place] not in shown.scenes:
                    shown.scenes[prints[place]] = Scene(part, self.options, self.direction, self.story, whole)
                shown.scenes[prints[place]].add(part, place, int(self.story.kept[place]))
        return shown


def script() -> str:
    """Return all scripts as one, in a function of their own."""
    parts = (FOLDER.joinpath("js", name).read_text("utf-8") for name in SCRIPTS)
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


class Shown:
    """What has been seen of the frames so far."""

    def __init__(self) -> None:
        self.scenes: dict[str, Scene] = {}
        self.notes: list[str] = []  # of every step: how its numbers were come by
        self.structures: list[str] = []
        self.last: Frame | None = None

    def data(self) -> dict[str, Any]:
        """Return all scenes, and for every step which one is its own (-1: none) and what is to be said of it."""
        numbers = {name: number for number, name in enumerate(self.scenes)}
        said = list(dict.fromkeys("" if note == EXACT else note for note in self.notes))
        return {
            "scenes": [scene.data() for scene in self.scenes.values()],
            "scene": [numbers.get(name, -1) for name in self.structures],
            "structures": len(set(self.structures)),
            "notes": [escape.clean(note, 400) for note in said],
            "note": [said.index("" if note == EXACT else note) for note in self.notes],
        }
