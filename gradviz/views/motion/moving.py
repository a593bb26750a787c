"""An animation as one SVG that moves by CSS alone: no script, nothing from outside, still where motion is unwanted."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from copy import deepcopy
from itertools import accumulate

from gradviz.views.motion.film import Film, Layer
from gradviz.views.painting import shape, short

__all__ = ["moving_svg"]


def moving_svg(film: Film, *, loop: bool) -> str:
    """Return the animation as SVG; without CSS animations, or where less motion is asked for, its last moment."""
    return Writer(film, loop=loop).text()


class Writer:
    """Writes one animation; names of keyframes begin with the id of the picture, rules hold under it."""

    def __init__(self, film: Film, *, loop: bool) -> None:
        self.film = film
        self.loop = loop
        seconds = [moment.seconds for moment in film.moments]
        self.total = sum(seconds)
        self.starts = [0.0, *(100 * end / self.total for end in accumulate(seconds))]
        self.last = len(seconds) - 1
        self.seen: dict[frozenset[int], str] = {}
        self.moved: dict[tuple[int, bool], str] = {}

    def text(self) -> str:
        """Return the whole document."""
        film = self.film
        root = film.root(film.id, film.told())
        group = shape("g", transform="translate({} {})".format(*map(short, film.offset)))
        group.extend(self.layer(layer) for layer in film.layers if layer.is_inside)
        group.extend(self.movers())
        root.append(group)
        root.extend(self.layer(layer) for layer in film.layers if not layer.is_inside)
        ground, track = film.captions.track()
        track.set("class", "gv-track")
        root.extend([ground, track])
        page = film.stage.pages[-1]
        page.id = film.id
        root[2].text = page.stylesheet(root) + "".join(self.rules())
        page.indent(root)
        return ET.tostring(root, "unicode", short_empty_elements=True) + "\n"

    def layer(self, layer: Layer) -> ET.Element:
        """Return an element with the class of the moments at which it is seen."""
        if len(layer.moments) == len(self.starts) - 1:
            return deepcopy(layer.element)
        name = self.seen.setdefault(layer.moments, f"s{len(self.seen)}")
        found = shape("g", class_=f"gv-seen {name}")
        if self.last not in layer.moments:
            found.set("visibility", "hidden")
        found.append(deepcopy(layer.element))
        return found

    def movers(self) -> Iterator[ET.Element]:
        """Yield a dot for everything that moves: a dash of no length with round ends."""
        for mover in self.film.movers:
            name = self.moved.setdefault((mover.moment, mover.back), f"m{len(self.moved)}")
            look = {
                "stroke": mover.colour,
                "stroke_width": self.film.dot,
                "stroke_linecap": "round",
                "stroke_dasharray": ".01 300",
            }
            found = shape("path", d=mover.path, class_=f"gv-flow {name}", fill="none", visibility="hidden", **look)
            found.set("pathLength", "100")
            yield found

    # -- rules

    def rules(self) -> Iterator[str]:
        """Yield the rules of the motion."""
        id, times = self.film.id, "infinite" if self.loop else "1"
        timing = f"{short(self.total)}s step-end {times}"
        yield f"#{id} .gv-seen,#{id} .gv-flow{{animation:{timing}}}"
        yield f"#{id} .gv-track{{stroke-dasharray:100 200;animation:{id}-track {short(self.total)}s linear {times}}}"
        yield f"@keyframes {id}-track{{from{{stroke-dashoffset:100}}to{{stroke-dashoffset:0}}}}"
        for moments, name in self.seen.items():
            yield f"#{id} .{name}{{animation-name:{id}-{name}}}"
            yield f"@keyframes {id}-{name}{{{''.join(self.sight(moments))}}}"
        for (moment, back), name in self.moved.items():
            yield f"#{id} .{name}{{animation-name:{id}-{name}}}"
            yield f"@keyframes {id}-{name}{{{''.join(self.motion(moment, back=back))}}}"
        still = f"#{id} .gv-seen,#{id} .gv-flow,#{id} .gv-track{{animation:none}}"
        yield f"@media (prefers-reduced-motion:reduce){{{still}}}@media print{{{still}}}"

    def sight(self, moments: frozenset[int]) -> Iterator[str]:
        """Yield the keyframes at which something appears or goes."""
        before: bool | None = None
        for number in range(self.last + 1):
            now = number in moments
            if now is not before:
                yield f"{percent(self.starts[number])}{{visibility:{'visible' if now else 'hidden'}}}"
            before = now
        yield f"to{{visibility:{'visible' if self.last in moments else 'hidden'}}}"

    def motion(self, moment: int, *, back: bool) -> Iterator[str]:
        """Yield the keyframes of what moves along its path during one moment."""
        first, last = (-100, 0) if back else (0, -100)
        start, end = map(percent, self.starts[moment : moment + 2])
        yield f"0%{{visibility:hidden;stroke-dashoffset:{first}}}"
        ease = "animation-timing-function:cubic-bezier(.45,.05,.55,.95)"
        yield f"{start}{{visibility:visible;stroke-dashoffset:{first};{ease}}}"
        yield f"{end},to{{visibility:hidden;stroke-dashoffset:{last}}}"


def percent(number: float) -> str:
    """Return a place in time as CSS has it.

    >>> percent(12.5), percent(100 / 3)
    ('12.5%', '33.3333%')
    """
    return f"{number:.4f}".rstrip("0").rstrip(".") + "%"
