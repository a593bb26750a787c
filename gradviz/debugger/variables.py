"""The user's variables: those of the frame that a prompt is opened in, found and used by name, never run."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import TYPE_CHECKING, Any

from gradviz.debugger.naming import NodeNames, attribute_of
from gradviz.debugger.tensors import Shown, grad_of, is_computed, is_tensor, library, number_of, rank
from gradviz.engine.sites import NUMPY
from gradviz.errors import GradvizValueError, UnknownNameError

if TYPE_CHECKING:
    from gradviz.debugger.standing import Standing

__all__ = ["LiveNames", "Variables", "is_scalar", "largest", "scalars", "user_frame"]

PACKAGE = str(Path(__file__).resolve().parent.parent)
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Variables:
    """The variables of one frame of the user's program, and where that is.

    >>> Variables({"w": 1.0}, {"w": 2.0, "lr": 0.1}).find(["lr"])
    (1, 0.1)
    """

    local: Mapping[str, Any] = field(default_factory=dict, repr=False)
    other: Mapping[str, Any] = field(default_factory=dict, repr=False)
    place: str = ""  # train.py:12 in main

    @classmethod
    def of(cls, frame: FrameType, line: int | None = None) -> Variables:
        """Return the variables of a frame as they are now."""
        code = frame.f_code
        where = f"{Path(code.co_filename).name}:{line or frame.f_lineno}"
        inside = "" if code.co_name == "<module>" else f" in {code.co_name}"
        return cls(dict(frame.f_locals), frame.f_globals, f"{where}{inside}")

    def find(self, parts: list[str]) -> tuple[int, Any]:
        """Return how many of the dotted parts lead to something, and that; 0 if no variable has the first name.

        Only what an object holds under a name is found: nothing is called, no property either.
        """
        for variables in (self.local, self.other):
            if parts[0] in variables:
                return _reached(variables[parts[0]], parts)
        return 0, None


def _reached(found: Any, parts: list[str]) -> tuple[int, Any]:
    """Follow dotted parts through what objects hold."""
    count = 1
    while count < len(parts):
        held = _held(found, parts[count])
        if held is None:
            break
        found = held[parts[count]]
        count += 1
    return count, found


def _held(x: Any, name: str) -> Mapping[str, Any] | None:
    """Return the dictionary in which an object, or a module of PyTorch, holds something under a name."""
    own = getattr(x, "__dict__", None) or NOTHING
    inner = [own.get(part) for part in ("_parameters", "_buffers", "_modules")] if "_modules" in own else []
    return next((held for held in (own, *inner) if isinstance(held, Mapping) and name in held), None)


class LiveNames(NodeNames):
    """The nodes by name, and after them the user's variables."""

    def __init__(self, debugger: Standing, variables: Variables) -> None:
        super().__init__(debugger)
        self.variables = variables

    def longest(self, parts: list[str]) -> int:
        """Return how many of the dotted parts name a node, a word known here, or a variable."""
        return super().longest(parts) or self.variables.find(parts)[0]

    def look_up(self, name: str, attribute: str, iteration: int | None) -> Any:
        """Return ``value``, ``grad``, ... of a node or of a variable, which has no iterations."""
        parts = name.split(".")
        if super().longest(parts) == len(parts):
            return super().look_up(name, attribute, iteration)
        if iteration is not None:
            raise UnknownNameError(f"{name!r} is a variable of the program: only nodes are kept of every iteration")
        return part_of(self.variables.find(parts)[1], attribute)


def part_of(found: Any, attribute: str) -> Any:
    """Return the value, the gradient or another attribute of a variable."""
    if not is_tensor(found) and not isinstance(found, Shown):
        return attribute_of(found, attribute)
    if attribute == "grad":
        return grad_of(found)
    return found.op if attribute == "op" and hasattr(found, "op") else attribute_of(number_of(found), attribute)


# -- finding them ----------------------------------------------------------------------------------


def user_frame() -> FrameType:
    """Return the innermost frame that is neither of this package nor of NumPy or PyTorch."""
    frame = sys._getframe(1)
    while frame.f_back is not None and is_ours(frame):
        frame = frame.f_back
    return frame


def is_ours(frame: FrameType) -> bool:
    """Tell whether a frame runs code of this package, of NumPy or of PyTorch."""
    return frame.f_code.co_filename.startswith((PACKAGE, NUMPY, library() or PACKAGE))


def scalars(variables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the variables that hold a tensor of one element that an op has made."""
    for name, value in variables.items():
        if is_scalar(value):
            yield name, value


def is_scalar(x: Any) -> bool:
    """Tell whether this is a tensor of one element that an op has made."""
    return is_tensor(x) and is_computed(x) and math.prod(x.shape) == 1


def largest(variables: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the variable whose scalar tensor has the largest graph, the newest of equals.

    Raises GradvizValueError if there is none.

    >>> from gradviz import Tensor
    >>> w = Tensor(2.0)
    >>> y = w * w
    >>> largest({"w": w, "y": y, "z": y + w})[0]
    'z'
    """
    found = list(scalars(variables))
    if not found:
        names = ", ".join(name for name, value in variables.items() if is_tensor(value))
        held = f"the Tensors there are {names}" if names else "there is no Tensor"
        raise GradvizValueError(f"no variable holds a scalar that was computed: {held}", hint="breakpoint(loss)")
    if len(found) == 1:
        return found[0]
    return max(found, key=lambda pair: rank(pair[1]))
