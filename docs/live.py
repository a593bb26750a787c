"""Make the transcript in live.md again: run its script, and type what is typed there."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = Path(__file__).with_name("live.md")
SCRIPT = re.compile(r"```py\n(.*?)```", re.DOTALL)
TRANSCRIPT = re.compile(r"(?<=```text\n).*?(?=```)", re.DOTALL)
TYPED = re.compile(r"^\(gradviz [^)]*\) (.*)$", re.MULTILINE)


def page() -> str:
    """Return the page with the transcript as it is now."""
    text = PAGE.read_text("utf-8")
    script, transcript = SCRIPT.search(text), TRANSCRIPT.search(text)
    if script is None or transcript is None:
        raise ValueError("live.md has no script, or no transcript")
    commands = "".join(f"{line}\n" for line in TYPED.findall(transcript[0]))
    made = shown(script[1], commands)
    return text[: transcript.start()] + made + text[transcript.end() :]


def shown(script: str, commands: str) -> str:
    """Return what a script writes when these commands are piped into it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "train.py").write_text(script, "utf-8")
        done = subprocess.run(
            [sys.executable, "train.py"], cwd=folder, input=commands, capture_output=True, text=True, check=True
        )
    return done.stdout


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
