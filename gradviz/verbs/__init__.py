"""The verbs of the command line, one module each: a new module here is a new verb.

A module of this package that has a ``VERB`` is found by itself; the others help them.
"""

from __future__ import annotations

import importlib
import pkgutil
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Verb", "all_verbs"]


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: what it is called, how it is used, and the function that does it.

    ``run`` returns the exit status: 0 fine, 1 findings. Trouble is raised as a `GradvizError`.
    Of a verb that ``runs_scripts``, what stands after ``--`` is given as ``rest``.
    """

    name: str
    summary: str
    examples: tuple[str, ...]
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
    runs_scripts: bool = False


def all_verbs() -> list[Verb]:
    """Return every verb, sorted by name.

    >>> {"demo", "draw", "show"} <= {verb.name for verb in all_verbs()}
    True
    """
    modules = (importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    verbs = [module.VERB for module in modules if hasattr(module, "VERB")]
    return sorted(verbs, key=lambda verb: verb.name)
