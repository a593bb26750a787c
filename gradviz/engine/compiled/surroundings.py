"""What a function reads besides its arguments: globals, closures, attributes. A compiled function is good for these.

From the function that was watched everything it can reach by the names in the code that ran is looked up
once, and kept: lists and dicts by their content, arrays by their numbers, objects by the attributes of those
names. Before every replay it is compared again; a difference means to record again.
"""

from __future__ import annotations

import builtins
import io
import sys
import sysconfig
import types
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from operator import is_
from types import CodeType
from typing import Any

import numpy as np

from ..modules import Module
from ..sites import ENGINE, NUMPY
from ..tensor import Tensor
from .watching import CannotCompileError

__all__ = ["Surroundings", "in_library", "is_of_library", "is_output", "surroundings_of"]

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "<missing>"})()
ATOMS = (int, float, complex, bool, str, bytes, type(None), type(Ellipsis), np.generic)
STATE = (float, np.floating, np.ndarray, Tensor)
LIMIT = 50_000  # things to compare
LIBRARIES = (ENGINE.removesuffix("engine"), NUMPY, sysconfig.get_paths()["stdlib"])
Check = tuple[Any, Any, Any]
Codes = dict[CodeType, dict[str, Any]]


class Surroundings:
    """Everything that was found, in the groups in which it is compared."""

    def __init__(self) -> None:
        self.entries: list[Check] = []  # a mapping, a key, and what it held
        self.cells: list[tuple[Any, Any]] = []
        self.sequences: list[tuple[Any, list[Any]]] = []
        self.arrays: list[tuple[np.ndarray, np.ndarray]] = []
        self.tensors: list[tuple[Tensor, Any]] = []  # whose values are read, and whether they require a gradient

    def hold(self) -> bool:
        """Tell whether everything is as it was."""
        for mapping, key, was in self.entries:
            now = mapping.get(key, MISSING)
            if now is not was and not _alike(now, was):
                return False
        for cell, was in self.cells:
            now = _content(cell)
            if now is not was and not _alike(now, was):
                return False
        for sequence, items in self.sequences:
            if len(sequence) != len(items) or not (all(map(is_, sequence, items)) or all(map(_same, sequence, items))):
                return False
        for tensor, makes in self.tensors:
            if tensor._makes is not makes:
                return False
        return not self.arrays or all(
            a.shape == b.shape and np.array_equal(a.view(np.uint8), b.view(np.uint8)) for a, b in self.arrays
        )

    def let_go_of_what_changed(self, before: Surroundings) -> None:
        """Forget what the function itself has changed since ``before``: its counters and logs."""
        entries = {(id(m), key) for m, key, was in before.entries if not _same(m.get(key, MISSING), was)}
        cells = {id(cell) for cell, was in before.cells if not _same(_content(cell), was)}
        sequences = {id(now) for now, was in before.sequences if len(now) != len(was) or not all(map(_same, now, was))}
        self.entries = [entry for entry in self.entries if (id(entry[0]), entry[1]) not in entries]
        self.cells = [pair for pair in self.cells if id(pair[0]) not in cells]
        self.sequences = [pair for pair in self.sequences if id(pair[0]) not in sequences]

    def numbers_changed(self) -> bool:
        """Tell whether something that holds numbers is another now; that of counters and logs is nobody's business."""
        pairs = [
            *((mapping.get(key, MISSING), was) for mapping, key, was in self.entries),
            *((_content(cell), was) for cell, was in self.cells),
            *(pair for now, was in self.sequences if len(now) == len(was) for pair in zip(now, was, strict=True)),
        ]
        changed = any(isinstance(x, STATE) for now, was in pairs if not _same(now, was) for x in (now, was))
        return changed or not all(_same_bytes(a, b) for a, b in self.arrays)


def _same_bytes(a: Any, b: Any) -> bool:
    return a.shape == b.shape and np.array_equal(a.view(np.uint8), b.view(np.uint8))


def _same(now: Any, was: Any) -> bool:
    return now is was or _alike(now, was)


def _alike(now: Any, was: Any) -> bool:
    """Tell whether two numbers or texts are the same to the last bit."""
    if now.__class__ is not was.__class__ or not isinstance(now, ATOMS):
        return False
    return repr(now) == repr(was)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return MISSING


def surroundings_of(
    f: Callable[..., Any], codes: dict[CodeType, dict[str, Any]], others: Iterable[Any]
) -> Surroundings:
    """Return what ``f``, whose call ran these codes, and the ``others`` it was given can reach.

    Raises `CannotCompileError` for an iterator, which gives something else at every call, and where there is
    too much to compare.
    """
    return _Search(codes).found([f, *others])


class _Search:
    def __init__(self, codes: dict[CodeType, dict[str, Any]]) -> None:
        self.codes = codes
        self.names = {name for code in codes for name in (*code.co_names, *code.co_freevars)}
        own = {name for code in codes if not in_library(code.co_filename) for name in code.co_names}
        self.reads_any = bool(own & {"__dict__", "vars", "getattr"})
        self.made = Surroundings()
        self.seen: set[int] = set()
        self.waiting: deque[Any] = deque()
        self._ways: tuple[tuple[Any, Callable[[Any], None]], ...] = (
            (np.ndarray, self._array),
            (type, self._class),
            (types.FunctionType, self._function),
            (types.MethodType, lambda x: self.waiting.extend((x.__self__, x.__func__))),
            (partial, lambda x: self.waiting.extend((x.func, x.args, x.keywords))),
            ((list, tuple, deque, set, frozenset), self._collection),
            (dict, self._dict),
            (types.ModuleType, self._module),
        )

    def found(self, roots: list[Any]) -> Surroundings:
        for code, variables in self.codes.items():
            if not in_library(code.co_filename):
                for name in code.co_names:
                    if name in variables or hasattr(builtins, name):
                        self._entry(variables, name)
        self.waiting.extend(roots)
        while self.waiting:
            x = self.waiting.popleft()
            if id(x) not in self.seen and not isinstance(x, ATOMS):
                self.seen.add(id(x))
                self._visit(x)
                if len(self.made.entries) + len(self.made.sequences) > LIMIT:
                    raise CannotCompileError("it can reach too many objects to compare them at every call")
        return self.made

    def _entry(self, mapping: Any, key: Any) -> None:
        value = mapping.get(key, MISSING)
        self.made.entries.append((mapping, key, value))
        self.waiting.append(value)

    def _visit(self, x: Any) -> None:
        if isinstance(x, Tensor | types.BuiltinFunctionType | np.ufunc | np.dtype):
            return  # its identity is compared, and a Tensor's value is read at every call
        for kinds, visit in self._ways:
            if isinstance(x, kinds):
                visit(x)
                return
        if hasattr(type(x), "__next__") and not is_output(x):
            raise CannotCompileError(f"it can reach a {type(x).__name__}, which gives something else every time")
        self._object(x)

    def _collection(self, x: Any) -> None:
        items = list(x)
        if not isinstance(x, tuple | frozenset):
            self.made.sequences.append((x, items))
        self.waiting.extend(items)

    def _dict(self, x: dict[Any, Any]) -> None:
        self.made.sequences.append((x, list(x)))
        for key in list(x):
            self._entry(x, key)

    def _module(self, x: types.ModuleType) -> None:
        if not in_library(getattr(x, "__file__", None) or NUMPY):
            self._attributes(vars(x))

    def _array(self, x: np.ndarray) -> None:
        if x.dtype.hasobject:
            raise CannotCompileError("it can reach an array of objects")
        if x.flags.writeable or x.base is not None:
            in_one_piece = x.flags.c_contiguous and x.ndim > 0
            now: Any = x if in_one_piece else _Loose(x)
            self.made.arrays.append((now, np.array(x) if in_one_piece else np.array(x).reshape(-1)))

    def _function(self, f: types.FunctionType) -> None:
        wrapped = getattr(f, "__wrapped__", None)
        if f.__code__ not in self.codes and wrapped is None:
            return
        for cell in f.__closure__ or ():
            value = _content(cell)
            self.made.cells.append((cell, value))
            self.waiting.append(value)
        self.waiting.extend(x for x in (f.__defaults__, f.__kwdefaults__) if x)

    def _class(self, kind: type) -> None:
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        if kind.__module__ != "builtins" and not in_library(file or ""):
            self._attributes(vars(kind))

    def _object(self, x: Any) -> None:
        kind = type(x)
        if kind.__module__.split(".")[0] in ("numpy", "builtins") or (
            kind.__module__.startswith("gradviz.") and not isinstance(x, Module)
        ):
            return
        for above in kind.__mro__[:-1]:
            self.waiting.append(above)
        if hasattr(x, "__dict__"):
            self._attributes(x.__dict__, {name for above in kind.__mro__ for name in vars(above)})
        for name in sorted(self.names & {n for c in kind.__mro__ for n in _slots(c)}):
            value = getattr(x, name, MISSING)
            self.made.cells.append((_Slot(x, name), value))
            self.waiting.append(value)

    def _attributes(self, variables: Any, shadowing: set[str] | None = None) -> None:
        """Keep the attributes that the code names; with ``shadowing`` also those that could come to hide others."""
        names = self.names & (variables.keys() | (shadowing or set()))
        if self.reads_any and variables.__class__ is dict:
            names = names | variables.keys()
        for name in sorted(names):
            self._entry(variables, name)


def _slots(kind: type) -> tuple[str, ...]:
    slots = getattr(kind, "__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


class _Slot:
    """A slot of an object, read as a cell is."""

    def __init__(self, owner: Any, name: str) -> None:
        self._owner = owner
        self._name = name

    @property
    def cell_contents(self) -> Any:
        """What the slot holds."""
        return getattr(self._owner, self._name, MISSING)


class _Loose:
    """An array whose bytes do not lie in one piece."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    @property
    def shape(self) -> tuple[int, ...]:
        """Its size, as that of one line."""
        return (self._array.size,)

    def view(self, dtype: Any) -> np.ndarray:
        """Return the bytes of a copy."""
        return np.ascontiguousarray(self._array).reshape(-1).view(dtype)


def is_output(x: Any) -> bool:
    """Tell whether something can be written to, and not read: a terminal, a log."""
    return isinstance(x, io.IOBase) and not x.closed and not x.readable()


def is_of_library(kind: type) -> bool:
    """Tell whether a class belongs to Python or an installed package, modules of gradviz's networks excepted."""
    if kind.__module__ == "builtins":
        return True
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return in_library(file or "") and not issubclass(kind, Module)


def in_library(file: str) -> bool:
    """Tell whether a file belongs to Python, NumPy, gradviz, or an installed package."""
    return file.startswith(LIBRARIES) or file.startswith("<frozen") or "site-packages" in file
