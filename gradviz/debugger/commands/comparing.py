"""Commands that compare: diff of two moments, and whatif."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gradviz.debugger.commands import Command
from gradviz.debugger.telling import columns
from gradviz.errors import GradvizValueError
from gradviz.escape import clean
from gradviz.tracing.framediff import FrameDiff, NodeDifference, structure_lines

if TYPE_CHECKING:
    from gradviz.debugger.prompt import Prompt

__all__ = ["COMMANDS"]

NODES = 12  # of each kind in a comparison


def diff(prompt: Prompt, text: str) -> None:
    """Compare two moments, or one with here."""
    words = text.replace(",", " ").split()
    if not 1 <= len(words) <= 2:
        raise GradvizValueError("which two shall be compared?", hint="diff 17 18, diff 17.b.3 18.b.3, diff 17")
    found = prompt.debugger.diff(*words)
    prompt.say("\n".join(lines_of(found, words[0], words[1] if len(words) > 1 else "here")), fit=True)


def lines_of(found: FrameDiff, a: str, b: str) -> Iterator[str]:
    """Yield a comparison as lines: structure, values forward, gradients backward, side by side."""
    if found.same:
        unknown = f" ({found.unknown} numbers are known in one only)" if found.unknown else ""
        yield f"no difference between {clean(a)} and {clean(b)}{unknown}"
        return
    if found.structure:
        yield from structure_lines(found.structure)
    for what, order, differing in (("value", "computed", found.forward), ("gradient", "sent back", found.backward)):
        if differing:
            count = f"1 {what} differs" if len(differing) == 1 else f"{len(differing)} {what}s differ, as {order}"
            yield f"{count}, {clean(a)} | {clean(b)}:"
            yield from columns([_row(one) for one in differing[:NODES]])
            yield from _rest(differing)
    if found.unknown:
        yield f"{found.unknown} numbers are known in one only"
    if any(one.born for one in (*found.forward[:NODES], *found.backward[:NODES])):
        yield "* differs although nothing that it is made of does"


def _row(one: NodeDifference) -> list[str]:
    return [f"{'*' if one.born else ' '} {clean(one.a.name, 40)}", one.found.told]


def _rest(differing: Sequence[NodeDifference]) -> Iterator[str]:
    if len(differing) > NODES:
        yield f"  ... and {len(differing) - NODES} more"


def whatif(prompt: Prompt, text: str) -> None:
    """Say what had happened with other values, or other options of the optimizer."""
    if not text:
        raise GradvizValueError("what shall be different?", hint="whatif w=0.5, whatif lr=0.01 for 50")
    prompt.say(str(prompt.debugger.whatif(text)), fit=True)


DIFF = """\
A and B are iterations (17: all its values and gradients) or positions (17.b.3: what is known at that
moment). Without B, A is compared with where we are. Bits count: 0.1 + 0.2 differs from 0.3."""
WHATIF = """\
The history stays as it is. This iteration is computed again with the other value: X is a leaf, or an
op, past which no gradient goes then. With "for N" N updates are made, by the rule that the recorded
training was updated by, each with the inputs of its iteration; lr and the optimizer's other options
can be changed too. VALUE is an expression: whatif w = w / 2, whatif w=0, lr=0.1 for 50."""
COMMANDS = (
    Command(("diff",), "diff A [B]", "which node differs first, and how, side by side", diff, group="asking",
            details=DIFF),
    Command(("whatif",), "whatif X=VALUE [, ...] [for N]", "compute and go on with another value, or another lr",
            whatif, completes="node", group="asking", details=WHATIF),
)  # fmt: skip
