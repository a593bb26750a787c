"""A program that starts writers and kills them: ``python -m tests.killing KIND FOLDER SEED TIMES``.

Every writer is a process of its own, forked from this one, which has everything imported already. It says through
a pipe that ``step`` has returned, and is killed at a random moment of its first milliseconds. Prints how many steps of
each were acknowledged.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from tests.kinds import KINDS, truth, written

LONGEST_LIFE = 0.02  # seconds


class Acknowledging:
    """Tells another process of every step that has returned."""

    def __init__(self, descriptor):
        self._descriptor = descriptor

    def __call__(self, row):
        os.write(self._descriptor, b".")


def kill_one(kind, path, life, *, from_birth):
    """Fork a writer, kill it when its life is over, and return how many steps it had acknowledged.

    Its life is counted from the fork, or else from its first step.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            written(kind, path, None, after=Acknowledging(writing))
        finally:
            os._exit(1)
    os.close(writing)
    acknowledged = 0 if from_birth else len(os.read(reading, 1))
    time.sleep(life)
    os.kill(child, signal.SIGKILL)
    while data := os.read(reading, 65536):
        acknowledged += len(data)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise SystemExit(f"the writer ended by itself: {status}")
    return acknowledged


def main(kind, folder, seed, times):
    """Kill that many writers."""
    random_ = random.Random(f"{kind} {seed}")
    truth(kind, 2)
    written(kind, Path(folder) / "first", 2)  # everything is imported and compiled
    for i in range(int(times)):
        life = random_.uniform(0.0, LONGEST_LIFE)
        print(kill_one(kind, Path(folder) / f"run{i}", life, from_birth=i % 4 == 0), flush=True)


if __name__ == "__main__":
    assert sys.argv[1] in KINDS
    main(*sys.argv[1:])
