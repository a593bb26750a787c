"""Commands that ask: why is this gradient what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradviz.debugger.commands import Command
from gradviz.debugger.commands.moving import number
from gradviz.debugger.why import WAYS
from gradviz.errors import UnknownNameError

if TYPE_CHECKING:
    from gradviz.debugger.prompt import Prompt

__all__ = ["COMMANDS"]


def why(prompt: Prompt, text: str) -> None:
    """Say what a gradient is the sum of: why W.grad -paths -k 3."""
    words = text.split()
    by, k, name = "edges", 5, ""
    while words:
        word = words.pop(0)
        if word == "-k":
            k = number(words.pop(0) if words else "")
        elif word.startswith("-"):
            by = way(word[1:])
        else:
            name = word.removesuffix(".grad")
    prompt.say(str(prompt.debugger.why(name or prompt.debugger.event.node.name, by, k)))


def way(word: str) -> str:
    """Return the whole name of a way to take the sum."""
    found = [by for by in WAYS if word and by.startswith(word)]
    if not found:
        raise UnknownNameError.among("way to take the sum", word, WAYS)
    return found[0]


COMMANDS = (
    Command(
        ("why",),
        "why [NODE] [-edges|-paths|-samples|-elements] [-k N]",
        "the terms a gradient is the sum of, and that they add up",
        why,
        completes="node",
        group="asking",
    ),
)
