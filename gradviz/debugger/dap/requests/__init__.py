"""The requests of the protocol, a family to a module: what a module here answers is answered.

A module of this package has ``REQUESTS``, the functions by command, and may have ``CAPABILITIES``, what the
client is told of them. It is found by itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gradviz.debugger.dap.arguments import Arguments

if TYPE_CHECKING:
    from gradviz.debugger.dap.session import Session

__all__ = ["Handler", "all_capabilities", "all_requests"]

Handler = Callable[["Session", Arguments], dict[str, Any] | None]


@cache
def _modules() -> tuple[ModuleType, ...]:
    return tuple(importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))


@cache
def all_requests() -> dict[str, Handler]:
    """Return every request by its command.

    >>> {"initialize", "stepBack", "variables"} <= set(all_requests())
    True
    """
    return {command: handler for module in _modules() for command, handler in module.REQUESTS.items()}


def all_capabilities() -> dict[str, Any]:
    """Return what a client can count on."""
    return {key: value for module in _modules() for key, value in getattr(module, "CAPABILITIES", {}).items()}
