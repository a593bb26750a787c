"""Commands about the prompt itself: help, alias, draw, quit."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from gradviz.debugger.commands import Command, all_commands, command_named
from gradviz.debugger.telling import columns

if TYPE_CHECKING:
    from gradviz.debugger.prompt import Prompt

__all__ = ["COMMANDS"]

PICTURE = "gradviz-{}.svg"


def helped(prompt: Prompt, text: str) -> None:
    """Say what the commands do, or one of them."""
    if text.strip():
        found = command_named(text.strip())
        names = ", ".join(found.names[1:])
        prompt.say(f"{found.usage}\n  {found.summary}{f' (also {names})' if names else ''}")
        return
    ordered = sorted(all_commands(), key=lambda command: command.group)
    for group, commands in groupby(ordered, key=lambda command: command.group):
        prompt.say(f"{group}:")
        rows = [[f"  {command.usage}", command.summary] for command in commands]
        prompt.say("\n".join(columns(rows)))


def alias(prompt: Prompt, text: str) -> None:
    """Give a line a name: alias pg p norm(%1.grad)."""
    name, _, meaning = text.partition(" ")
    if name and meaning.strip():
        prompt.aliases[name] = meaning.strip()
    shown = {name: prompt.aliases[name]} if name in prompt.aliases else {} if name else prompt.aliases
    prompt.say("\n".join(f"{name} = {meaning}" for name, meaning in shown.items()) or "no such alias")


def unalias(prompt: Prompt, text: str) -> None:
    """Forget an alias."""
    prompt.aliases.pop(text.strip(), None)


def draw(prompt: Prompt, text: str) -> None:
    """Write the picture of this moment, with the event highlighted; the suffix decides the format."""
    d = prompt.debugger
    path = text.strip() or PICTURE.format(str(d.where).replace(".", "-"))
    prompt.say(f"wrote {d.draw().save(Path(path))}")


def leave(prompt: Prompt, text: str) -> None:
    """Leave the debugger."""
    prompt.is_done = True


COMMANDS = (
    Command(("draw",), "draw [FILE]", "write the picture of this moment: SVG, PNG, HTML, ...", draw, group="pictures"),
    Command(("help", "h", "?"), "h [COMMAND]", "say what the commands do", helped, completes="command", group="prompt"),
    Command(("alias",), "alias NAME LINE", "name a line; %1 and %* stand for what follows", alias, group="prompt"),
    Command(("unalias",), "unalias NAME", "forget an alias", unalias, group="prompt"),
    Command(("quit", "q", "exit", "EOF"), "q", "leave", leave, group="prompt"),
)
