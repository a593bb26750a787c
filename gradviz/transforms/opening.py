"""Folded frames, and the same with some of the folds opened, by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from gradviz.errors import GradvizTypeError, UnknownNameError
from gradviz.graphs import Frame
from gradviz.transforms.folding import Loop, Path, Plan, loops_of, plan
from gradviz.transforms.lifting import Lifted, lift
from gradviz.transforms.repeats import find_repeats

__all__ = ["Folded", "Unfold"]

Unfold = bool | str | int | Sequence[str | int | tuple[str, ...]] | None
POOL = 2000  # names looked through for "did you mean"


class Folded:
    """A frame and the loops in it, found once; `frame` makes the smaller frames, closed or with folds opened."""

    def __init__(self, frame: Frame, fewest: int, keep: Iterable[int] = (), *, scopes_only: bool = False) -> None:
        self.whole = frame
        self.scopes_only = scopes_only
        self.keep = sorted(set(keep))
        self.repeats = find_repeats(frame, fewest, self.keep, scopes_only=scopes_only)
        self.loops: list[Loop] = loops_of(frame.graph, self.repeats)

    def frame(self, unfold: Unfold = None, opened: Collection[Path] = ()) -> Frame:
        """Return the folded frame, with the folds that ``unfold`` names opened, and those at the paths ``opened``.

        Raises `UnknownNameError`, suggesting close names.
        """
        if not self.loops:
            self.rounds(unfold)
            return self.whole
        found = self.plan(unfold, opened)
        if all(group.kind == "single" for group in found.groups) and not any(group.rounds for group in found.groups):
            return self.whole
        return lift(self.whole, found.groups, found.handed_on)

    def plan(self, unfold: Unfold = None, opened: Collection[Path] = ()) -> Plan:
        """Return what becomes one node; its ``folds`` are the closed folds by path, with their counts."""
        wanted = self.rounds(unfold)
        paths = frozenset(opened)

        def is_open(path: Path, loop: int) -> Collection[int] | None:
            return wanted.get(loop, () if path in paths else None)

        return plan(self.whole, self.repeats, self.loops, self.keep, is_open)

    def rounds(self, unfold: Unfold) -> dict[int, set[int]]:
        """Return the loops to open, for each the rounds to show besides the first and last ones."""
        found: dict[int, set[int]] = {}
        if unfold is None or unfold is False:
            return found
        if unfold is True:
            return {number: set() for number in range(len(self.loops))}
        for name in (unfold,) if isinstance(unfold, str | int) else unfold:
            for loop, rounds in self.named(name).items():
                found.setdefault(loop, set()).update(rounds)
        return found

    def named(self, name: object) -> dict[int, set[int]]:
        """Return the loops that a name means: a fold, a node in one, or a scope with folds in it."""
        loops = {number: set[int]() for number, loop in enumerate(self.loops) if name == loop.name}
        if loops:
            return loops
        if isinstance(name, str):
            loops = self.of_scope(name) or self.of_group(name)
            if loops:
                return loops
        if isinstance(name, int) or (isinstance(name, str) and name in self.whole.graph):
            return self.of_node(self.whole.graph.index(name))
        if not isinstance(name, str):
            raise GradvizTypeError(f"a fold is given by name, not {type(name).__name__}")
        folded = [node.name for node in self.frame().graph.nodes if "folded" in node.attrs]
        raise UnknownNameError.among("fold", name, [*(loop.name for loop in self.loops), *folded][:POOL])

    def of_scope(self, name: str) -> dict[int, set[int]]:
        """Return the outermost loops inside a scope."""
        found: dict[int, set[int]] = {}
        for number, loop in enumerate(self.loops):
            prefixes = (".".join(loop.inside[:length]) for length in range(1, len(loop.inside) + 1))
            if loop.parent not in found and name in prefixes:
                found[number] = set()
        return found

    def of_group(self, name: str) -> dict[int, set[int]]:
        """Return the loops around a folded node, as it is named in the closed picture."""
        small = self.frame()
        if name not in small.graph or "folded" not in small.graph[name].attrs:
            return {}
        first = self.images(small).index(small.graph[name].id)
        return {loop: set() for loop in self.of_node(first)}

    def images(self, small: Frame) -> tuple[int, ...]:
        """Return where every node is in a frame made by `frame`."""
        return small.edges.of if isinstance(small.edges, Lifted) else tuple(range(len(self.whole.graph)))

    def of_node(self, id: int) -> dict[int, set[int]]:
        """Return the loops around a node and the round it is in in each."""
        pairs = zip(self.repeats.loops, self.repeats.rounds, strict=True)
        found = {int(loops[id]): {int(rounds[id])} for loops, rounds in pairs if loops[id] >= 0}
        if not found:
            name = self.whole.graph.nodes[id].name[:200]
            folds = ", ".join(loop.name for loop in self.loops[:5])
            raise UnknownNameError(f"{name!r} is in no fold", hint=f"folds: {folds}" if folds else "nothing is folded")
        return found
