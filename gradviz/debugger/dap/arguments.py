"""What a client sends with a request: JSON of any shape, looked at through the types it should have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradviz.errors import GradvizTypeError

__all__ = ["Arguments"]


class Arguments:
    """A JSON object whose fields are asked for by name and type; ``null`` is as good as absent.

    Every method raises GradvizTypeError, naming the field, for one of another type.

    >>> given = Arguments({"line": 3, "source": {"path": "a.py"}, "condition": None})
    >>> given.number("line"), given.within("source").text("path"), given.text("condition")
    (3, 'a.py', '')
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def __contains__(self, name: str) -> bool:
        return self._given.get(name) is not None

    def _get(self, name: str, wanted: type, otherwise: Any) -> Any:
        found = self._given.get(name)
        if found is None:
            return otherwise
        if not isinstance(found, wanted) or (wanted is int and isinstance(found, bool)):
            raise GradvizTypeError(f"{name} is {type(found).__name__}, not {NAMES[wanted]}")
        return found

    def text(self, name: str, otherwise: str = "") -> str:
        """Return a text."""
        found: str = self._get(name, str, otherwise)
        return found

    def number(self, name: str, otherwise: int = 0) -> int:
        """Return a whole number."""
        found: int = self._get(name, int, otherwise)
        return found

    def flag(self, name: str, *, otherwise: bool = False) -> bool:
        """Return true or false."""
        found: bool = self._get(name, bool, otherwise)
        return found

    def within(self, name: str) -> Arguments:
        """Return an object; an absent one is empty."""
        return Arguments(self._get(name, dict, {}))

    def texts(self, name: str) -> list[str]:
        """Return a list of texts."""
        found = self._get(name, list, [])
        if not all(isinstance(item, str) for item in found):
            raise GradvizTypeError(f"{name} does not hold texts only")
        return list(found)

    def objects(self, name: str) -> list[Arguments]:
        """Return a list of objects."""
        found = self._get(name, list, [])
        if not all(isinstance(item, dict) for item in found):
            raise GradvizTypeError(f"{name} does not hold objects only")
        return [Arguments(item) for item in found]


NAMES = {str: "a text", int: "a whole number", bool: "true or false", dict: "an object", list: "a list"}
