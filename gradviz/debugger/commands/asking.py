"""Commands that ask: why is this gradient what it is, who is to blame, are the rules right."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gradviz.debugger.commands import Command, node_named
from gradviz.debugger.commands.moving import number
from gradviz.debugger.why import WAYS
from gradviz.errors import UnknownNameError

if TYPE_CHECKING:
    from gradviz.debugger.prompt import Prompt

__all__ = ["COMMANDS"]


def why(prompt: Prompt, text: str) -> None:
    """Say what a gradient is the sum of: why W.grad -paths -k 3."""
    words = re.findall(r"`[^`]*`\S*|\S+", text)
    by, k, names = "edges", 5, list[str]()
    while words:
        word = words.pop(0)
        if word == "-k":
            k = number(words.pop(0) if words else "")
        elif word.startswith("-"):
            by = way(word[1:])
        else:
            names.append(word)
    name = node_named(prompt.debugger.graph, " ".join(names)) if names else prompt.node.name
    prompt.say(str(prompt.debugger.why(name, by, k)))


def blame(prompt: Prompt, text: str) -> None:
    """Say where a fault was born, and go there."""
    found = prompt.debugger.blame(text.strip() or None)
    if found is None:
        prompt.say(f"no {text.strip()} was born here" if text.strip() else "nothing is wrong that blame knows of")
        if str(prompt.debugger.full.meta.get("values", "")).startswith("gone"):
            prompt.say(
                "but the values inside are not known: call it before backward(), or within gradviz.capture(model)"
            )
        return
    prompt.say(str(found))
    before = prompt.debugger.where
    prompt.debugger.seek(found.position)
    prompt.arrived(before)


def check(prompt: Prompt, text: str) -> None:
    """Compare the rules of the ops with finite differences."""
    name, _, repeats = text.partition("-r")
    node = node_named(prompt.debugger.graph, name) if name.strip() else None
    found = prompt.debugger.check(node, repeats=number(repeats))
    prompt.say("\n".join(map(str, found)) or "every rule agrees with finite differences")


def way(word: str) -> str:
    """Return the whole name of a way to take the sum."""
    found = [by for by in WAYS if word and by.startswith(word)]
    if not found:
        raise UnknownNameError.among("way to take the sum", word, WAYS)
    return found[0]


WHY = """\
-edges: what each user of the node sends back; -paths: the largest products along the paths to the
result; -samples, -elements: the rows of the batch, the elements of the users, that weigh most."""
BLAME = """\
nan and inf: where the number was born, with the operands; cut: a parameter no gradient reaches;
zero, vanish, explode: where the gradient went to nothing or to very much; wrong: a rule that finite
differences contradict. Without a word, all of these, the most serious first."""
CHECK = "Random directions, -r TIMES of them; without a node all ops of this iteration are checked."
ROWS = (
    (("why",), "why [NODE] [-edges|-paths|-samples|-elements] [-k N]",
     "the terms a gradient is the sum of, and that they add up", why, "node", WHY),
    (("blame",), "blame [KIND]", "go to where a fault was born: nan, inf, cut, zero, vanish, explode, wrong", blame,
     "fault", BLAME),
    (("check",), "check [NODE] [-r TIMES]", "compare the ops' rules with finite differences", check, "node", CHECK),
)  # fmt: skip
COMMANDS = tuple(
    Command(names, usage, summary, run, completes=completes, group="asking", details=details)
    for names, usage, summary, run, completes, details in ROWS
)
