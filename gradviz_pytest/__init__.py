"""The pytest plugin of gradviz: its options, and nothing else until one of them is given.

It lies beside the package so that a test run that does not ask for it does not import the package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["pytest_addoption", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare ``--gradviz-blame`` and ``--gradviz-blame-dir``."""
    group = parser.getgroup("gradviz", "what made a NaN, cut a gradient, ... in a failing test")
    group.addoption(
        "--gradviz-blame",
        action="store_true",
        help="say of every failing test where the fault was born, and draw the graph with the node that is to blame",
    )
    group.addoption(
        "--gradviz-blame-dir",
        metavar="DIR",
        default=".gradviz-blame",
        help="where the pictures go (default: .gradviz-blame)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take part in the reports if that was asked for."""
    if config.getoption("gradviz_blame"):
        from gradviz.pytest_plugin import BlameReports  # noqa: PLC0415 - only where it is asked for

        folder = config.rootpath / config.getoption("gradviz_blame_dir")
        config.pluginmanager.register(BlameReports(folder), "gradviz-blame")
