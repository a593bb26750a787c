"""The commands of the debugger's prompt, a few to a module: a new `Command` in a module here is a new command.

A module of this package that has ``COMMANDS`` is found by itself.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING

from gradviz.errors import UnknownNameError

if TYPE_CHECKING:
    from gradviz.debugger.prompt import Prompt
    from gradviz.graphs import Graph

__all__ = ["Command", "all_commands", "command_named", "node_named"]

QUOTED = re.compile(r"`([^`]+)`(?:\.grad)?")


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its names (the first is the full one), how it is used, what it does.

    ``run`` gets the prompt and what was typed after the name, and says what there is to say with
    ``prompt.say``. Enter repeats a command that ``repeats``. ``completes`` says what its arguments are:
    ``node``, ``where``, ``fault``, ``phase``, ``command`` or nothing. ``details`` is the rest of its help.
    """

    names: tuple[str, ...]
    usage: str
    summary: str
    run: Callable[[Prompt, str], None]
    repeats: bool = False
    completes: str = ""
    group: str = "other"
    details: str = ""

    @property
    def name(self) -> str:
        """The full name."""
        return self.names[0]


@cache
def all_commands() -> tuple[Command, ...]:
    """Return every command, in the order of the modules.

    >>> "why" in [command.name for command in all_commands()]
    True
    """
    modules = (importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    return tuple(command for module in modules for command in getattr(module, "COMMANDS", ()))


def node_named(graph: Graph, text: str) -> str:
    """Return the name of a node that was typed: as it is, or between backticks as in expressions; or what was typed.

    >>> from gradviz.graphs import Graph, Node
    >>> node_named(Graph((Node(0, "my loss", "param", "param"),), (0,)), " `my loss`.grad")
    'my loss'
    """
    name = text.strip()
    inside = QUOTED.sub(r"\1", name)
    ways = (name, inside, inside.removesuffix(".grad"))
    return next((way for way in ways if way in graph), ways[-1])


def command_named(word: str, among: Sequence[Command] = ()) -> Command:
    """Return a command by one of its names, or by the beginning of just one; raises UnknownNameError.

    >>> command_named("s").name
    'step'
    """
    commands = among or all_commands()
    exact = [command for command in commands if word in command.names]
    begun = [command for command in commands if command.name.startswith(word)]
    if exact or len(begun) == 1:
        return (exact or begun)[0]
    if begun:
        raise UnknownNameError(f"{word[:80]!r} could be {' or '.join(command.name for command in begun)}")
    close = get_close_matches(word, [name for command in commands for name in command.names], n=2)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    raise UnknownNameError(f"{word[:80]!r} is no command and no name here", hint=f"{meant}h lists the commands")
