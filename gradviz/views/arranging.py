"""What of a frame is drawn: the part in focus, scopes closed, repeats folded, and folds that are opened."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from gradviz import transforms
from gradviz.errors import UnknownNameError
from gradviz.graphs import Frame
from gradviz.style import Options

__all__ = ["Arrangement"]

Path = tuple[str, ...]


class Arrangement:
    """One frame and the options that say what of it is drawn; repeated structure is looked for once."""

    def __init__(self, frame: Frame, options: Options, keep: Iterable[int] = ()) -> None:
        self.frame = frame
        self.options = options
        self.keep = [frame.graph.index(id) for id in keep]
        self.part = frame
        if options.focus is not None:
            self.part = transforms.focus(frame, options.focus, options.hops)
        self._known: list[tuple[Frame, transforms.Folded]] = []

    def arranged(self, opened: Collection[Path] = ()) -> tuple[Frame, Options]:
        """Return the frame to draw, with the folds at these paths open too, and the options with ids of its nodes."""
        part, options = self.part, self.options
        names = self._wanted()
        if options.collapse is not None:
            if options.fold is True:  # blocks are equal by what is inside, so they are found before they are closed
                part, names = self._folded(part, names, opened, scopes_only=True)
            part = transforms.collapse(part, options.collapse)
        asked = options.fold is True or (options.fold == "auto" and options.unfold is not None)
        if asked or (options.fold == "auto" and len(part.graph) > transforms.FOLD_ABOVE):
            part, names = self._folded(part, names, opened)
        return part, self._options(part)

    def _wanted(self) -> list[str | int] | bool:
        unfold = self.options.unfold
        if isinstance(unfold, bool) or unfold is None:
            return bool(unfold)
        return list(unfold)

    def _folded(
        self, part: Frame, names: list[str | int] | bool, opened: Collection[Path], *, scopes_only: bool = False
    ) -> tuple[Frame, list[str | int] | bool]:
        """Return a part of the frame folded, and the names of folds to open that mean nothing in it."""
        folded = self._loops(part, scopes_only=scopes_only)
        if isinstance(names, bool):
            return folded.frame(names, opened), names
        places = transforms.images(self.frame, part)
        known: list[str | int] = []
        unknown: list[str | int] = []
        for name in names:
            try:
                known.append(self._in_part(folded, name, places))
            except UnknownNameError:
                if not scopes_only:
                    raise
                unknown.append(name)
        return folded.frame(known, opened), unknown

    def _in_part(self, folded: transforms.Folded, name: str | int, places: list[int | None]) -> str | int:
        """Return a name for what is to be opened that the part knows, or raise `UnknownNameError`."""
        if isinstance(name, str):
            try:
                folded.named(name)
                return name
            except UnknownNameError:
                if name not in self.frame.graph:
                    raise
        place = places[self.frame.graph.index(name)]
        if place is None:
            raise UnknownNameError(f"{str(name)[:200]!r} is not in the picture")
        folded.named(place)
        return place

    def _loops(self, part: Frame, *, scopes_only: bool) -> transforms.Folded:
        """Return the loops of a part, found once; two of a kind are enough where folding was asked for."""
        for known, folded in self._known:
            if known is part and folded.scopes_only == scopes_only:
                return folded
        places = transforms.images(self.frame, part)
        keep = [place for id in self.keep if (place := places[id]) is not None]
        fewest = 2 if self.options.fold is True else transforms.FEWEST
        folded = transforms.Folded(part, fewest, keep, scopes_only=scopes_only)
        self._known.append((part, folded))
        return folded

    def _options(self, part: Frame) -> Options:
        """Return the options with the ids that highlighted and pending nodes have in the part."""
        graph, options = self.frame.graph, self.options
        places = transforms.images(self.frame, part)
        highlight = {places[graph.index(name)] for name in options.highlight}
        pending = {graph.index(name) for name in options.pending}
        started = {place for id, place in enumerate(places) if id not in pending}
        pale = {places[id] for id in pending} - started
        return replace(options, highlight=_ids(highlight), pending=_ids(pale))


def _ids(found: set[int | None]) -> tuple[int, ...]:
    return tuple(sorted(id for id in found if id is not None))
