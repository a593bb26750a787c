"""The places in a program that call `gradviz.breakpoint`, and what is kept of the iterations that passed there."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from gradviz.debugger.framing import recorded_of, whole_frame
from gradviz.debugger.kept import KeptFrame, KeptTimeline
from gradviz.debugger.session import LiveDebugger
from gradviz.debugger.telling import shown
from gradviz.debugger.tensors import Shown, is_tensor, is_torch
from gradviz.debugger.variables import Variables, is_scalar, largest
from gradviz.debugger.whens import Passing, When, last_position, read
from gradviz.engine.recognition import Structures
from gradviz.engine.structure import walked
from gradviz.errors import GradvizTypeError
from gradviz.sources import own
from gradviz.sources.keeping import keep

if TYPE_CHECKING:
    from gradviz.debugger.talking import LivePrompt

__all__ = ["CallSite", "site_of"]

SITES = 16  # places of which iterations are kept
STRUCTURES = 64  # graphs of one place whose names are remembered
_sites: OrderedDict[tuple[int, int, int], CallSite] = OrderedDict()


def site_of(frame: FrameType) -> CallSite:
    """Return what is known of the place where a frame is, on this thread."""
    key = (id(frame.f_code), frame.f_lasti, threading.get_ident())
    found = _sites.get(key)
    if found is None:
        found = _sites[key] = CallSite(frame.f_code)
        if len(_sites) > SITES:
            _sites.popitem(last=False)
    return found


class CallSite:
    """One call of `gradviz.breakpoint` in the text of a program, on one thread."""

    def __init__(self, code: CodeType) -> None:
        self.code = code  # held, so that no other gets its id
        self.timeline = KeptTimeline()
        self._count = 0
        self._variable = ""
        self._whens: dict[Any, When] = {}
        self._structures = Structures()
        self._names: OrderedDict[int | None, Sequence[str]] = OrderedDict()
        self._debugger: LiveDebugger | None = None
        self._prompt: LivePrompt | None = None

    def root(self, frame: FrameType, given: Any) -> Any:
        """Return the Tensor given, or the scalar with the largest graph among the local variables.

        Which variable that is is found out once, as long as it holds one.
        """
        if given is None:
            variables = frame.f_locals
            held = variables.get(self._variable)
            if is_scalar(held):
                return held
            self._variable, given = largest(variables)
        if not is_tensor(given):
            raise GradvizTypeError(f"breakpoint takes a Tensor, not a {type(given).__name__}")
        return given

    def passed(
        self, frame: FrameType, root: Any, when: Any, step: int | None, most: int, memory: int, params: Any
    ) -> None:
        """Take note of an iteration, and open the prompt if it is to be."""
        number, wanted = self._numbered(step), self._when(when)
        graph = _TorchGraph(root, params) if is_torch(root) else _Graph(self, root, params)
        passing = Passing(root, number, frame, graph.tensors, self.timeline)
        is_kept = most > 0 or wanted is None or wanted.needs_history
        if is_kept:
            self.timeline.add(number, graph.kept(self.timeline.newest), max(1, most), memory)
        if wanted is not None and not wanted.may_hold(passing):
            return
        if not is_kept:
            self.timeline.add(number, graph.kept(None), 1, memory)
        self._stop(frame, number, wanted)

    def _numbered(self, step: int | None) -> int:
        """Return the number of this iteration; one that is not above the last begins a new history."""
        number = self._count if step is None else step
        if number < self._count:
            self.timeline.clear()
        self._count = number + 1
        return number

    def _when(self, when: Any) -> When | None:
        if when is None:
            return None
        if not isinstance(when, str):
            return read(when)
        if when not in self._whens:
            self._whens[when] = read(when)
        return self._whens[when]

    def names(self, root: Any, found: Sequence[Any], params: Mapping[str, Any] | None) -> Sequence[str]:
        """Return the names of the tensors of a graph; they are looked for once for each structure."""
        key = self._structures(root)
        if key not in self._names:
            known = own.names(root, params)
            self._names[key] = [known[id(t)] for t in found]
            if len(self._names) > STRUCTURES:
                self._names.popitem(last=False)
        return self._names[key]

    def _stop(self, frame: FrameType, number: int, wanted: When | None) -> None:
        variables = Variables.of(frame)
        d = self._debugger = self._debugger or LiveDebugger(self.timeline, variables)
        d.meet(variables)
        d.cursor.position = end = last_position(d, number)
        place = end if wanted is None else wanted.place(d, number)
        if place is None:
            return
        d.stand(place, "breakpoint")
        from gradviz.debugger.talking import talk

        newest = self.timeline.newest
        loss = f", loss {shown(newest.loss)}" if newest is not None else ""
        heading = f"iteration {number} at {variables.place}{loss}"
        self._prompt = talk(d, "\n".join([heading, *_missing(d.full)]), self._prompt)


class _Graph:
    """The graph of one iteration, walked and named when it has to be.

    Names are found by going up the stack, so nothing may call on the way that is neither ours nor the user's.
    """

    def __init__(self, site: CallSite, root: Any, params: Mapping[str, Any] | None) -> None:
        self._site, self._root, self._params = site, root, params
        self._found: list[Any] | None = None
        self._names: Sequence[str] | None = None

    @property
    def found(self) -> list[Any]:
        """Every tensor of it."""
        if self._found is None:
            self._found = walked(self._root)
        return self._found

    @property
    def names(self) -> Sequence[str]:
        """The name of every tensor."""
        if self._names is None:
            self._names = self._site.names(self._root, self.found, self._params)
        return self._names

    def kept(self, before: Any) -> Any:
        """Return what is to be kept of it."""
        return keep(self._root, self.found, self.names, before)

    def tensors(self) -> Mapping[str, Any]:
        """Return the tensors by name."""
        return dict(zip(self.names, self.found, strict=True))


class _TorchGraph:
    """The graph of one iteration of a program of PyTorch: as a capture has recorded it, or else after the fact.

    Names are found by going up the stack, as for `_Graph`.
    """

    def __init__(self, root: Any, params: Any) -> None:
        self._root, self._params = root, params
        self._made: Any = None

    @property
    def _frame(self) -> Any:
        if self._made is None:
            self._made = whole_frame(self._root, self._params)
        return self._made

    def kept(self, before: Any) -> KeptFrame:
        """Return what is to be kept of it."""
        known = recorded_of(self._root)
        return KeptFrame(self._frame, is_pulled=known is None or known.grads[known.graph.outputs[-1]] is not None)

    def tensors(self) -> Mapping[str, Any]:
        """Return the numbers of the nodes by name."""
        frame = self._frame
        return {node.name: Shown(frame.values[node.id], frame.grads[node.id], node.op) for node in frame.graph}


def _missing(frame: Any) -> Iterator[str]:
    """Say what is not known of an iteration after the fact, and how it would be."""
    known = str(frame.meta.get("values", ""))
    if known.startswith("gone"):
        yield f"the values inside are {known}"
