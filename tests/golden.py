"""Gold files: text that is compared byte for byte; ACCEPT=1 in the environment writes them anew."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "gold"


def assert_gold(name: str, text: str) -> None:
    """Compare ``text`` with the gold file; a file that is missing fails like one that differs."""
    path = FOLDER / name
    if os.environ.get("ACCEPT"):
        path.write_bytes(text.encode())
    expected = path.read_bytes().decode() if path.exists() else ""
    assert text == expected, f"{path} differs: look at it, and accept it with ACCEPT=1 python -m pytest {name}"
