"""Commands about the prompt itself: help, alias, draw, quit, and why ``!`` does nothing."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from gradviz.debugger.commands import Command, command_named
from gradviz.debugger.keyboard import is_notebook
from gradviz.debugger.telling import columns
from gradviz.errors import GradvizValueError, UnknownNameError

if TYPE_CHECKING:
    from gradviz.debugger.prompt import Prompt

__all__ = ["COMMANDS"]

PICTURE = "gradviz-{}.svg"
GROUPS = ("program", "moving", "breakpoints", "reading", "asking", "pictures", "prompt")
AFTERWARDS = """Enter repeats a command that moves or lists; several on a line are separated by ;;
An expression alone is printed. h COMMAND says more."""


def helped(prompt: Prompt, text: str) -> None:
    """Say what the commands do, or one of them."""
    if text.strip():
        one = command_named(text.strip(), prompt.commands)
        lines = [one.usage, f"  {one.summary}", *(f"  {line}" for line in one.details.splitlines())]
        prompt.say("\n".join([*lines, f"  names: {', '.join(one.names)}"]))
        return
    ordered = sorted(prompt.commands, key=lambda command: GROUPS.index(command.group))
    for group, commands in groupby(ordered, key=lambda command: command.group):
        prompt.say(f"{group}:", "now")
        prompt.say("\n".join(columns([[f"  {one.usage}", one.summary] for one in commands])))
    prompt.say(AFTERWARDS)


def alias(prompt: Prompt, text: str) -> None:
    """Give a line a name: alias pg p norm(%1.grad)."""
    name, _, meaning = text.partition(" ")
    if name and meaning.strip():
        prompt.aliases[name] = meaning.strip()
    if name and name not in prompt.aliases:
        raise UnknownNameError.among("alias", name, prompt.aliases)
    shown = {name: prompt.aliases[name]} if name else prompt.aliases
    prompt.say("\n".join(f"{name} = {meaning}" for name, meaning in shown.items()) or "no aliases")


def unalias(prompt: Prompt, text: str) -> None:
    """Forget an alias."""
    if prompt.aliases.pop(text.strip(), None) is None:
        raise UnknownNameError.among("alias", text.strip(), prompt.aliases)


def draw(prompt: Prompt, text: str) -> None:
    """Show the picture of this moment in a notebook, else write it; the suffix decides the format."""
    picture = prompt.debugger.draw()
    if not text.strip() and is_notebook():
        from IPython.display import display

        display(picture)
        return
    path = text.strip() or PICTURE.format(str(prompt.debugger.where).replace(".", "-"))
    prompt.say(f"wrote {picture.save(Path(path))}")


def refused(prompt: Prompt, text: str) -> None:
    """Say why no statement is run here."""
    raise GradvizValueError(
        "no statements are run here: the debugger reads what has happened, and changes nothing",
        hint="p EXPRESSION works something out; whatif w=0.5 computes with another value",
    )


def leave(prompt: Prompt, text: str) -> None:
    """Leave the debugger."""
    prompt.is_done = True


ALIAS = "%1, %2, ... stand for the words that follow, %* for all of them: alias pg p norm(%1.grad)"
DRAW = """\
The event is highlighted, what is still to come is pale. The suffix of FILE is the format (.svg
.png .pdf .html .txt ...). Without FILE the picture appears in a notebook; elsewhere it is written
to a file named after the position, gradviz-17-b-3.svg."""
COMMANDS = (
    Command(("draw",), "draw [FILE]", "the picture of this moment: shown in a notebook, else written", draw,
            group="pictures", details=DRAW),
    Command(("help", "h", "?"), "h [COMMAND]", "say what the commands do", helped, completes="command",
            group="prompt"),
    Command(("alias",), "alias [NAME [LINE]]", "name a line, or list the names", alias, group="prompt", details=ALIAS),
    Command(("unalias",), "unalias NAME", "forget an alias", unalias, group="prompt"),
    Command(("!",), "! STATEMENT", "is refused: nothing is run here", refused, group="prompt"),
    Command(("quit", "q", "exit", "EOF"), "q", "leave; so does Ctrl-D", leave, group="prompt"),
)  # fmt: skip
