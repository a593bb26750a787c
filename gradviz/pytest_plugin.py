"""What ``pytest --gradviz-blame`` adds to a failing test: who is to blame, and a picture.

The Tensors, those of PyTorch too, Runs, Frames, captures and Debuggers in the variables of the failing frame are asked;
the report names the op, the line and the iteration, and the file with the picture. Nothing that goes wrong here fails
a test.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple

import pytest

from gradviz.debugger.births import Birth
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.standing import Standing
from gradviz.debugger.tensors import is_computed, is_tensor, is_torch, named_params, rank
from gradviz.errors import StoppedError
from gradviz.escape import clean
from gradviz.graphs import Frame
from gradviz.tracing.reading import Run
from gradviz.views.drawing import draw

__all__ = ["BlameReports"]

ASKED = 8  # variables of one frame that are looked into
TOLD = 3  # births in one report
DRAWN_WHOLE = 150  # nodes; of a larger graph only what is near the guilty one is drawn
HOPS = 3
NODES_LIMIT = 20_000
TITLE = "gradviz blame"
OWN = str(Path(__file__).parent)

Reporting = Generator[None, pytest.TestReport, pytest.TestReport]


class BlameReports:
    """Adds a section to the report of every failing test; pictures go to ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Reporting:
        """Add the section."""
        report = yield
        if report.failed and call.excinfo is not None:
            try:
                lines = list(self._lines(item.nodeid, call.excinfo.value))
            except Exception as error:  # whatever it is, the test run goes on
                lines = [f"no blame: {type(error).__name__}: {clean(str(error), 200)}"]
            if lines:
                report.sections.append((TITLE, "\n".join(lines)))
        return report

    def _lines(self, test: str, failed: BaseException) -> Iterator[str]:
        """Yield what is to be said of a failed test."""
        sound: list[str] = []
        known: set[tuple[Any, ...]] = set()
        for name, subject in _subjects(failed):
            try:
                debugger = _debugger_of(subject)
                birth = debugger.blame() if debugger is not None else None
            except Exception as error:  # a leaf was changed since, a run is damaged, ...
                yield f"{clean(name)}: no blame: {(str(error).splitlines() or [''])[0][:200]}"
                continue
            if birth is None:
                sound.append(clean(name))
            elif not _is_told(birth, known) and len(known) < TOLD:
                known.add((str(birth.source), birth.op))
                yield f"{clean(name)}: {birth}"
                yield f"  picture: {self._drawn(test, name, debugger, birth)}"
        if sound and not known:
            yield f"nothing is wrong that blame knows of in {', '.join(sound)}"

    def _drawn(self, test: str, name: str, debugger: Any, birth: Birth) -> str:
        """Draw the iteration with the guilty node highlighted; return where, or why not."""
        frame = debugger.timeline.steps(birth.iteration).full
        options: dict[str, Any] = {"highlight": [birth.node.id]}
        if len(frame.graph) > DRAWN_WHOLE:
            options |= {"focus": birth.node.id, "hops": HOPS}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return str(draw(frame, **options).save(self._folder / f"{_file_name(test, name)}.svg"))
        except Exception as error:  # a full disk, a layout that takes too long, ...
            return f"none, {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


def _is_told(birth: Birth, known: set[tuple[Any, ...]]) -> bool:
    """Tell whether a birth was told already; one after the fact has no line, only its op."""
    is_nameless = birth.source is None and any(op == birth.op for _, op in known)
    return is_nameless or (str(birth.source), birth.op) in known


def _file_name(test: str, name: str) -> str:
    """Return a name for a file from that of a test and of a variable.

    >>> _file_name("tests/test_a.py::test_b[1/2]", "loss")
    'test_a.py-test_b-1-2-loss'
    """
    path, bracket, parameters = test.partition("[")
    words = f"{path.rpartition('/')[2]}{bracket}{parameters}-{name}"
    return re.sub(r"[^\w.]+", "-", words).strip("-.")[-150:]


def _debugger_of(subject: Any) -> Any:
    """Return a debugger for what was found, or None for a graph that is too large."""
    if isinstance(subject, _OfTorch):
        subject = Debugger(subject.tensor, params=subject.params)
    found = subject if isinstance(subject, Standing) else Debugger(subject)
    return found if len(found.graph) <= NODES_LIMIT else None


def _subjects(error: BaseException) -> list[tuple[str, Any]]:
    """Return what can be asked in the innermost frame that has anything: variables by name; or who was stopped."""
    if isinstance(error, StoppedError) and isinstance(error.debugger, Standing):
        return [("stopped", error.debugger)]
    for frame in reversed(list(_frames(error.__traceback__))):
        found = list(_in(frame.f_locals))
        if found:
            return found[:ASKED]
    return []


def _frames(tb: TracebackType | None) -> Iterator[FrameType]:
    """Yield the frames of the test, without those of this package."""
    while tb is not None:
        if not tb.tb_frame.f_code.co_filename.startswith(OWN):
            yield tb.tb_frame
        tb = tb.tb_next


def _in(variables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the debuggers, runs, frames, captures and computed tensors; of these the one made last comes first."""
    given = [(name, x) for name, x in variables.items() if not name.startswith("@")]
    for kind in (Standing, Run, Frame):
        yield from ((name, x) for name, x in given if isinstance(x, kind))
    yield from ((name, x) for name, x in given if _is_capture(x) and len(x))
    made = [(name, x) for name, x in given if is_tensor(x) and is_computed(x)]
    yield from ((name, _named(x, given)) for name, x in sorted(made, key=lambda entry: -rank(entry[1])[1]))


class _OfTorch(NamedTuple):
    """A tensor of PyTorch, and what the variables beside it are called."""

    tensor: Any
    params: Mapping[str, Any]


def _named(x: Any, given: Sequence[tuple[str, Any]]) -> Any:
    if not is_torch(x):
        return x
    models = [model for _, model in given if hasattr(model, "named_parameters") and not isinstance(model, type)]
    tensors = {name: t for name, t in given if is_torch(t)}
    return _OfTorch(x, {**tensors, **(named_params(models[0]) if len(models) == 1 else {})})


def _is_capture(x: Any) -> bool:
    """Tell whether this has recorded a program of PyTorch, which is not imported for it."""
    recorder = sys.modules.get("gradviz.sources.torch.recorder")
    return recorder is not None and isinstance(x, recorder.Capture)
