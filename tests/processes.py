"""Python in a process of its own, whatever the locale and wherever the project lies."""

import os
import subprocess
import sys


def run_python(*line, env, cwd=None, timeout=120):
    """Run Python with this process's path of imports.

    The path is handed over in the environment: in the C locale Python itself cannot read the
    ``.pth`` files of a virtual environment whose path is not ASCII.
    """
    found = {**env, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-S", *line], cwd=cwd, env=found, capture_output=True, timeout=timeout, check=False
    )
