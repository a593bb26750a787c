"""Names for nodes, found by themselves.

In order: the name in ``params``, the name given with ``name=``, the variable (or attribute, or
item of a list or dict) that the caller holds the tensor in, the variable it was assigned to
where it was made, and at last the op with a number. Names are unique within a graph.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

PACKAGE = str(Path(__file__).resolve().parent.parent)
LIBRARIES = ("torch",)
FRAMES_LIMIT = 20  # how far up the stack variables are looked for
ITEMS_LIMIT = 10_000  # how many items of containers are looked at in one frame


def held_names(wanted: set[int]) -> dict[int, str]:
    """Return the names under which the callers hold the objects of these ids; the nearest caller wins."""
    names: dict[int, str] = {}
    for variables in _visible(sys._getframe(1)):
        for value, name in _named(variables):
            if id(value) in wanted:
                names.setdefault(id(value), name)
        if len(names) == len(wanted):
            break
    return names


def variables_held() -> Iterator[Mapping[str, Any]]:
    """Yield the variables of the callers by their names, one frame after the other from the nearest on."""
    yield from _visible(sys._getframe(1))


def _visible(frame: FrameType | None) -> Iterator[Mapping[str, Any]]:
    """Yield the variables of the user's frames, from the innermost outwards, each function's globals last."""
    depth, hidden, seen = 0, (PACKAGE, *_libraries()), set()
    while frame is not None and depth < FRAMES_LIMIT:
        if not frame.f_code.co_filename.startswith(hidden):
            depth += 1
            for variables in (frame.f_locals, frame.f_globals):
                if id(variables) not in seen:
                    yield dict(variables)
            seen.add(id(frame.f_globals))
        frame = frame.f_back


def _libraries() -> Iterator[str]:
    """Yield where the frameworks lie whose own variables are nobody's names, if they are loaded."""
    for name in LIBRARIES:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file:
            yield os.path.dirname(file) + os.sep  # noqa: PTH120


def _named(variables: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    """Yield (object, name): the variables themselves first, then what they contain."""
    public = [(name, value) for name, value in variables.items() if not name.startswith("_")]
    for name, value in public:
        yield value, name
    contents = (pair for name, value in public for pair in _contents(name, value))
    yield from itertools.islice(_with_inner(contents), ITEMS_LIMIT)


def _with_inner(contents: Iterator[tuple[Any, str]]) -> Iterator[tuple[Any, str]]:
    """Yield what containers hold, and after all of it what the lists and dicts among that hold."""
    inner: list[tuple[Any, str]] = []
    for item, label in contents:
        yield item, label
        if isinstance(item, list | tuple | dict):
            inner.append((item, label))
    for value, name in inner:
        if isinstance(value, dict):
            yield from ((item, f"{name}.{key}") for key, item in list(value.items()) if isinstance(key, str))
        else:
            yield from ((item, f"{name}[{i}]") for i, item in enumerate(value))


def _contents(name: str, value: Any) -> Iterator[tuple[Any, str]]:
    """Yield what one container or object holds; modules with parameters, all of them."""
    if isinstance(value, ModuleType | type):
        return
    if isinstance(value, Mapping):
        yield from ((item, str(key)) for key, item in list(value.items()) if isinstance(key, str))
    elif isinstance(value, list | tuple):
        yield from ((item, f"{name}[{i}]") for i, item in enumerate(value))
    elif hasattr(type(value), "named_parameters"):
        yield from ((item, f"{name}.{key}") for key, item in value.named_parameters())
    elif isinstance(getattr(value, "__dict__", None), dict):
        yield from ((item, f"{name}.{key}") for key, item in list(vars(value).items()) if not key.startswith("_"))


def unique_names(wishes: Sequence[str | None], fallbacks: Sequence[str]) -> list[str]:
    """Return one name per node: the wish, numbered if taken; else the fallback (an op) with a number.

    >>> unique_names(["w", None, None, "w"], ["param", "mul", "mul", "add"])
    ['w', 'mul_1', 'mul_2', 'w_2']
    """
    taken = {wish for wish in wishes if wish is not None}
    seen: Counter[str] = Counter()
    names = []
    for wish, fallback in zip(wishes, fallbacks, strict=True):
        base = fallback if wish is None else wish
        seen[base] += 1
        name = base if wish is not None and seen[base] == 1 else f"{base}_{seen[base]}"
        while name in taken and name != wish:
            seen[base] += 1
            name = f"{base}_{seen[base]}"
        taken.add(name)
        names.append(name)
    return names
