"""What a function could read or change: looked up before it is called, for one call must not use it up."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from types import CodeType
from typing import Any

import numpy as np

from ..tensor import Tensor
from .surroundings import Surroundings, in_library, is_of_library, is_output, surroundings_of
from .watching import CannotCompileError

__all__ = ["Before", "before_calling"]

LIMIT = 5_000  # objects looked at
GENERATORS = (np.random.Generator, np.random.RandomState)
QUIET = (int, float, complex, str, bytes, type(None), np.ndarray, np.generic, Tensor, type, types.BuiltinFunctionType)


class Before:
    """How things were before a function was called: random generators within reach, and all else that it names."""

    def __init__(self, generators: Iterable[Any], around: Surroundings) -> None:
        self._states = [(g, _state(g)) for g in generators]
        self.around = around

    def put_back(self) -> bool:
        """Give every generator its state again; tell whether one was used."""
        used = False
        for g, state in self._states:
            if repr(_state(g)) != repr(state):
                used = True
                if isinstance(g, np.random.RandomState):
                    g.set_state(state)
                else:
                    g.bit_generator.state = state
        return used


def _state(g: Any) -> Any:
    return g.get_state(legacy=False) if isinstance(g, np.random.RandomState) else g.bit_generator.state


def before_calling(f: Callable[..., Any], others: Iterable[Any]) -> Before:
    """Look up the random generators that a function could use, NumPy's own among them, and its surroundings.

    Raises `CannotCompileError` for an iterator within reach, which recording would use up.
    """
    found: list[Any] = [np.random.mtrand._rand]
    codes: dict[CodeType, dict[str, Any]] = {}
    waiting = deque([f, *others])
    seen = {id(np.random.mtrand._rand)}
    while waiting and len(seen) < LIMIT:
        x = waiting.popleft()
        if isinstance(x, QUIET) or id(x) in seen:
            continue
        seen.add(id(x))
        if isinstance(x, GENERATORS):
            found.append(x)
        elif hasattr(type(x), "__next__") and not is_output(x):
            raise CannotCompileError(f"it can reach a {type(x).__name__}, which gives something else every time")
        else:
            if isinstance(x, types.FunctionType) and not in_library(x.__code__.co_filename):
                codes |= dict.fromkeys(_codes(x.__code__), x.__globals__)
            waiting.extend(_held(x))
    return Before(found, surroundings_of(f, codes, others))


def _held(x: Any) -> Iterable[Any]:
    """Return what an object refers to, as far as a function may use it."""
    if isinstance(x, types.FunctionType):
        names = {name for code in _codes(x.__code__) for name in code.co_names}
        yield from (x.__globals__[name] for name in names & x.__globals__.keys())
        yield from (cell.cell_contents for cell in x.__closure__ or () if _is_filled(cell))
        yield from x.__defaults__ or ()
        yield from (x.__kwdefaults__ or {}).values()
    elif isinstance(x, types.MethodType):
        yield from (x.__self__, x.__func__)
    elif isinstance(x, partial):
        yield from (x.func, *x.args, *x.keywords.values())
    elif isinstance(x, dict):
        yield from list(x.values())
    elif isinstance(x, list | tuple | set | frozenset | deque):
        yield from list(x)[:LIMIT]
    elif not isinstance(x, types.ModuleType) and not is_of_library(type(x)):
        yield from vars(x).values() if hasattr(x, "__dict__") else ()
        yield from (getattr(type(x), name, None) for name in ("__call__", "forward"))


def _codes(code: CodeType) -> Iterable[CodeType]:
    """Return a code object and those of the functions inside it."""
    waiting = [code]
    for c in waiting:
        waiting.extend(x for x in c.co_consts if isinstance(x, CodeType))
    return waiting


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
