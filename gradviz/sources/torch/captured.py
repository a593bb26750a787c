"""What a capture has recorded, to be asked for while it runs and afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gradviz.errors import GradvizValueError
from gradviz.graphs import Frame, Graph

if TYPE_CHECKING:
    from gradviz.sources.torch.moments import Kept, Moment

__all__ = ["Captured"]


class Captured:
    """The part of a capture that gives back its steps."""

    @property
    def is_on(self) -> bool:
        """Whether it records at present."""
        raise NotImplementedError

    @property
    def _settled(self) -> Kept:
        """The steps that are kept."""
        raise NotImplementedError

    @property
    def steps(self) -> list[int]:
        """The numbers of the steps that are kept, ascending."""
        return [moment.number for moment in self._settled.moments]

    @property
    def frames(self) -> list[Frame]:
        """The frames of the steps that are kept."""
        return [moment.frame() for moment in self._settled.moments]

    def __len__(self) -> int:
        return len(self._settled.moments)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def __repr__(self) -> str:
        return f"Capture({len(self)} steps, {'recording' if self.is_on else 'off'})"

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows: the last step as frames are shown."""
        show = getattr(self.frame(-1), "_repr_html_", None) if len(self) else None
        return None if show is None else str(show())

    def frame(self, step: int = -1) -> Frame:
        """Return the frame of a step by its number; negative numbers count from the last one.

        Raises GradvizIndexError for a step that was not recorded, or is not kept any more.
        """
        return self.moment(step).frame()

    def graph(self, step: int = -1) -> Graph:
        """Return the graph of a step."""
        return self.moment(step).structure.graph

    def moment(self, step: int = -1) -> Moment:
        """Return a step as it was recorded."""
        return self._settled.moment(step)

    def expand(self, step: int = -1, node: str | int | None = None) -> Frame:
        """Return the frame of a step with one node, or all of them, opened to the aten operations inside.

        Every call is made again with the values it had. Raises GradvizValueError at the level "stats", which has no
        values.
        """
        from gradviz.sources.torch.expanding import expanded

        frame = self.frame(step)
        if frame.meta["how"] == "only measured":
            raise GradvizValueError("this step was only measured", hint='capture it with level="full"')
        return expanded(frame, node)
