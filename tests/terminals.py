"""Programs that believe they are at a terminal."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time


class Terminal:
    """A Python program whose stdout and stderr are a terminal of this size; ``text`` is what it has written so far."""

    def __init__(self, *line, columns=100, rows=30, stdout=None, **environment):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        hidden = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}
        surroundings = {name: value for name, value in os.environ.items() if name not in hidden}
        self.process = subprocess.Popen(
            [sys.executable, *map(str, line)],
            stdin=slave,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            env={**surroundings, "TERM": "xterm-256color", **environment},
            start_new_session=True,
        )
        os.close(slave)
        self.text = ""

    def read(self, until=None, seconds=20.0):
        """Read until a text appears, or to the end."""
        end = time.monotonic() + seconds
        while until is None or until not in self.text:
            ready, _, _ = select.select([self._master], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{until!r} is not in {self.text[-2000:]!r}")
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the program has ended
                data = b""
            if not data:
                break
            self.text += data.decode(errors="replace")
        return self.text

    def type(self, text):
        """Write what a person types."""
        os.write(self._master, text.encode())

    def interrupt(self):
        """Do what Ctrl-C does, and return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self):
        """Read to the end and return the exit status."""
        self.read()
        return self.process.wait(20)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        os.close(self._master)
