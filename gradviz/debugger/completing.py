"""What a word at the prompt can become."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from gradviz.debugger.blame import KINDS
from gradviz.debugger.commands import Command, command_named
from gradviz.errors import GradvizError
from gradviz.escape import clean
from gradviz.graphs import Graph

__all__ = ["completions"]

PLACES = ("inf", "nan", "structure")


def completions(commands: Sequence[Command], graph: Graph, aliases: Iterable[str], text: str, line: str) -> list[str]:
    """Return what a word could become: a command, or what the command on the line takes.

    A name with something invisible in it is left out: the terminal would obey it.

    >>> from gradviz.debugger.commands import all_commands
    >>> completions(all_commands(), Graph(()), ["pg"], "unal", "unal")
    ['unalias']
    """
    word, _, rest = line.lstrip().partition(" ")
    if not rest and not line.endswith(" "):
        known: Iterable[str] = (*aliases, *(name for c in commands for name in c.names))
    else:
        known = KNOWN.get(_wanted(commands, word), _nothing)(commands, graph)
    return sorted({name for name in known if name.startswith(text) and clean(name, None) == name})


def _wanted(commands: Sequence[Command], word: str) -> str:
    try:
        return command_named(word, commands).completes
    except GradvizError:
        return "node"


def _nothing(commands: Sequence[Command], graph: Graph) -> Iterator[str]:
    return iter(())


def _nodes(commands: Sequence[Command], graph: Graph) -> Iterator[str]:
    return (end for node in graph for end in (node.name, f"{node.name}.grad"))


def _places(commands: Sequence[Command], graph: Graph) -> Iterator[str]:
    yield from PLACES
    yield from _nodes(commands, graph)
    for node in graph:
        yield f"op:{node.op}"
        if node.scope:
            yield f"scope:{'.'.join(node.scope)}"


KNOWN: Mapping[str, Callable[[Sequence[Command], Graph], Iterable[str]]] = {
    "node": _nodes,
    "where": _places,
    "command": lambda commands, graph: (command.name for command in commands),
    "fault": lambda commands, graph: KINDS,
    "phase": lambda commands, graph: ("backward", "forward", "update"),
}
