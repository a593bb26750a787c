"""The reference: every public name by group from the docstrings, and the command line from its parsers.

The docstrings are written for people who read source, with a backtick or two around code; what Sphinx needs
is made of them here.
"""

import contextlib
import inspect
import io
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import gradviz
from gradviz import errors
from gradviz.cli import main
from gradviz.engine import functions
from gradviz.verbs import all_verbs

FOLDER = "reference"
GROUPS = {
    "Tensors and gradients": "Tensor tensor constant TensorValue grad value_and_grad jacobian hessian numerical_grad"
    " gradcheck GradcheckReport no_grad scope gc_paused register_op compile to_python",
    "Graphs and frames": "graph frame capture Graph Frame Node Source GraphDiff to_networkx from_networkx",
    "Pictures": "draw Drawing make_dot animate Animation",
    "Runs": "trace Trace descend Descent open_run Run open_runs Runs Finding diff RunDiff FrameDiff Divergence",
    "Steps and the debugger": "steps Steps Step Contribution Position Debugger Birth Mismatch debug breakpoint"
    " debugging post_mortem",
    "In tests": "assert_finite assert_grads assert_reaches assert_same",
    "Networks": "nn",
    "Optimizers": "optim",
}
REST = "Tensors and gradients"  # the group of a public name that nobody has sorted
OPERATIONS = "Operations, as functions"
ERRORS = "Errors, as classes"
ERRORS_KNOWN = {name for name, kind in vars(errors).items() if inspect.isclass(kind)} - set(gradviz.__all__)
CODE = re.compile(r"(``.+?``|`[^`\n]+`)")


def pages(_folder: Path) -> dict[str, str]:
    """Return the text of every page by its name."""
    written = {f"{FOLDER}/{slug(title)}.rst": module_page(title, names) for title, names in groups().items()}
    toctree = ".. toctree::\n   :hidden:\n\n" + "".join(f"   {slug(title)}\n" for title in groups())
    index = titled("Reference", "=") + "Every public name, from its docstring.\n\n"
    index += "".join(f":doc:`{title} <{slug(title)}>`\n   {listed(names)}\n\n" for title, names in groups().items())
    return {f"{FOLDER}/index.rst": index + toctree, f"{FOLDER}/command-line.md": command_line(), **written}


def groups() -> dict[str, list[str]]:
    """Return every public name, in the groups of the pages.

    >>> {name for names in groups().values() for name in names} >= set(gradviz.__all__)
    True
    """
    found = {title: [name for name in names.split() if name in gradviz.__all__] for title, names in GROUPS.items()}
    sorted_in = {name for names in found.values() for name in names}
    ops = [name for name in functions.__all__ if name not in sorted_in]
    wrong = [
        name for name, kind in vars(errors).items() if inspect.isclass(kind) and kind.__module__ == errors.__name__
    ]
    found[REST] += [name for name in gradviz.__all__ if name not in {*sorted_in, *ops, *wrong}]
    return {**found, OPERATIONS: ops, ERRORS: ["GradvizError", *sorted(set(wrong) - {"GradvizError"})]}


def listed(names: list[str]) -> str:
    """Return names in a row, each a link."""
    paths = [f"gradviz.{name}" if hasattr(gradviz, name) else f"gradviz.errors.{name}" for name in names]
    modules = {"nn": "gradviz.engine.nn", "optim": "gradviz.engine.optim"}
    links = [f":py:obj:`{name} <{modules.get(name, path)}>`" for name, path in zip(names, paths, strict=True)]
    return ", ".join(links)


def slug(title: str) -> str:
    """Return a title as the name of a file."""
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def titled(title: str, line: str) -> str:
    """Return a title with the line below it."""
    return f"{title}\n{line * len(title)}\n\n"


def module_page(title: str, names: list[str]) -> str:
    """Return a page with the documentation of some names."""
    blocks = [documented(name) for name in names]
    return titled(title, "=") + "\n".join(blocks)


def documented(name: str) -> str:
    """Return what makes Sphinx document one public name; a module with all that is in it."""
    thing = getattr(gradviz, name, None) or getattr(errors, name)
    if isinstance(thing, ModuleType):
        own = [name for name, each in vars(thing).items() if getattr(each, "__module__", "") == thing.__name__]
        inside = getattr(thing, "__all__", [name for name in own if not name.startswith("_")])
        parts = [directive(f"{thing.__name__}.{each}", getattr(thing, each)) for each in inside]
        return f".. automodule:: {thing.__name__}\n   :no-members:\n\n" + "\n".join(parts)
    return directive(f"gradviz.{name}" if hasattr(gradviz, name) else f"gradviz.errors.{name}", thing)


def directive(path: str, thing: Any) -> str:
    """Return the directive for a class or a function."""
    if inspect.isclass(thing):
        inherited = "   :show-inheritance:\n" if issubclass(thing, Exception) else "   :members:\n"
        return f".. autoclass:: {path}\n{inherited}"
    return f".. autofunction:: {path}\n" if callable(thing) else f".. autodata:: {path}\n"


def command_line() -> str:
    """Return the page about the command line: the help of every verb."""
    parts = ["# The command line", "`gradviz VERB --help` says the same. Data goes to stdout, messages to stderr; "]
    parts[-1] += "the exit status is 0 when all is well, 1 when something was found, 2 for a wrong line or a failure."
    parts += [f"## {verb.name}\n\n```text\n{help_of(verb.name)}\n```" for verb in all_verbs()]
    return "\n\n".join(parts) + "\n"


def help_of(verb: str) -> str:
    """Return what ``gradviz VERB --help`` prints, 90 columns wide.

    >>> "usage: gradviz doctor" in help_of("doctor")
    True
    """
    printed, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "92"
    try:
        with contextlib.redirect_stdout(printed):
            main([verb, "--help"])
    finally:
        os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)
    return printed.getvalue().strip()


def as_rst(_app: Any, _what: str, _name: str, _thing: Any, _options: Any, lines: list[str]) -> None:
    """Turn the lines of a docstring, in place, into what reStructuredText takes for the same."""
    in_example = False
    for place, line in enumerate(lines):
        stripped = line.lstrip()
        in_example = stripped.startswith(">>>") or (in_example and bool(stripped))
        if not in_example:
            lines[place] = "".join(piece(part) for part in CODE.split(line))


def piece(part: str) -> str:
    r"""Return a piece of a line: code, with a link where it is a public name, or words.

    >>> piece("`draw`"), piece("`x`"), piece("a * b")
    (':py:obj:`draw <gradviz.draw>`', '``x``', 'a \\* b')
    """
    if part.startswith("``"):
        return part
    if part.startswith("`"):
        name = part.strip("`").removesuffix("()").removeprefix("gradviz.")
        if name in gradviz.__all__:
            return f":py:obj:`{name} <gradviz.{name}>`"
        return f":py:obj:`{name} <gradviz.errors.{name}>`" if name in ERRORS_KNOWN else f"`{part}`"
    return re.sub(r"(?<!^)([*|])|(\w)_(?=\W|$)", lambda m: f"\\{m[1]}" if m[1] else f"{m[2]}\\_", part)
