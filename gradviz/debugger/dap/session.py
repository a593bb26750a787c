"""What the server knows between two requests: the debugger, what the client can do, what it has been shown."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradviz.debugger.breaking import Breakpoint
from gradviz.debugger.dap.arguments import Arguments
from gradviz.debugger.dap.console import Console
from gradviz.debugger.dap.places import Places, graphs_of
from gradviz.debugger.dap.protocol import Writer
from gradviz.debugger.dap.variables import Container, References
from gradviz.debugger.debugger import Debugger
from gradviz.errors import GradvizError, UsageError
from gradviz.escape import clean

__all__ = ["INTERRUPTING", "THREAD", "Client", "Session"]

THREAD = 1  # a training is one thread of events
INTERRUPTING = frozenset({"pause", "disconnect", "terminate"})


class Interruptions:
    """How many messages that stop a run have been received and not been answered yet."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Count one more, or one less."""
        with self._lock:
            self._count += count

    def __bool__(self) -> bool:
        return self._count > 0


class Client:
    """How the client counts lines and columns and writes paths."""

    def __init__(self, given: Arguments | None = None) -> None:
        given = given or Arguments({})
        self.first_line = int(given.flag("linesStartAt1", otherwise=True))
        self.first_column = int(given.flag("columnsStartAt1", otherwise=True))
        self.uses_uris = given.text("pathFormat", "path") == "uri"
        self.pages_variables = given.flag("supportsVariablePaging")

    def line(self, ours: int) -> int:
        """Return one of our lines, which start at 1, as the client counts them."""
        return ours - 1 + self.first_line

    def our_line(self, theirs: int) -> int:
        """Return one of the client's lines as we count them."""
        return theirs + 1 - self.first_line

    def column(self, ours: int | None) -> int:
        """Return one of our columns, which start at 0; without one the first."""
        return (ours or 0) + self.first_column


class Session:
    """One client and one run."""

    def __init__(self, writer: Writer, run: str = "") -> None:
        self.writer = writer
        self.run = run
        self.client = Client()
        self.interruptions = Interruptions()
        self.afterwards: list[Callable[[], None]] = []
        self.is_over = False
        self.is_moving = False  # a run was interrupted, and the client not told yet where it stopped
        self.stops_on_entry = True
        self.steps_back_by_lines = False
        self.fault = ""  # "nan" or "inf" while the debugger stands at its birth
        self.groups: dict[str, list[Breakpoint]] = {}  # by the request that set them
        self.reasons: dict[Breakpoint, str] = {}  # why the client is told it stops
        self.faults: dict[Breakpoint, str] = {}  # "nan" or "inf"
        self.references = References()
        self.targets: list[Any] = []  # positions offered by gotoTargets
        self._debugger: Debugger | None = None
        self._places: Places | None = None
        self._console: Console | None = None

    # -- the run

    def open(self, path: str) -> None:
        """Open a run directory; raises GradvizError if there is none, or nothing in it."""
        from gradviz.tracing.reading import open_run

        if Path(path).is_file():
            raise UsageError(
                f"{clean(path)} is a file: what is debugged here is a recorded run",
                hint="record one with gradviz.trace, then give its directory",
            )
        self._debugger = Debugger(open_run(path))
        self._places = Places(graphs_of(self._debugger.timeline))
        self._console = Console(self._debugger)

    @property
    def debugger(self) -> Debugger:
        """The debugger; raises UsageError before there is a run."""
        if self._debugger is None:
            raise UsageError("there is no run yet", hint="launch comes first, with the run directory as run")
        return self._debugger

    def require_run(self) -> None:
        """Raise UsageError if there is no run yet."""
        _ = self.debugger

    @property
    def places(self) -> Places:
        """The sources that were recorded."""
        return self._places or Places(())

    @property
    def console(self) -> Console:
        """The prompt behind the client's console."""
        return self._console or Console(self.debugger)

    @property
    def is_open(self) -> bool:
        """Whether there is a run."""
        return self._debugger is not None

    # -- what the client is told

    def then(self, work: Callable[[], None]) -> None:
        """Do something after the request has been answered."""
        self.afterwards.append(work)

    def say(self, text: str, category: str = "console") -> None:
        """Write to the client's console."""
        self.writer.event("output", {"category": category, "output": text})

    def stopped(self, reason: str, description: str = "", *, text: str = "", hit: list[int] | None = None) -> None:
        """Tell the client where the debugger stands, and why; what it was shown before is outdated."""
        self.is_moving = False
        self.references.clear()
        self.targets.clear()
        body: dict[str, Any] = {"reason": reason, "threadId": THREAD, "allThreadsStopped": True}
        body |= {"description": description} if description else {}
        body |= {"text": clean(text, 400)} if text else {}
        body |= {"hitBreakpointIds": hit} if hit else {}
        self.writer.event("stopped", body)

    def jumped(self, reason: str, description: str) -> None:
        """Tell a client that believes the debugger stands still that it stands elsewhere."""
        self.writer.event("continued", {"threadId": THREAD, "allThreadsContinued": True})
        self.stopped(reason, description)

    def end(self) -> None:
        """Tell the client that there is nothing more to debug."""
        self.writer.event("exited", {"exitCode": 0})
        self.writer.event("terminated")

    # -- moving

    def move(self, move: Callable[[Debugger], object], reason: str = "step") -> None:
        """Move and tell where that has led."""
        self.fault = ""
        before = self.debugger.where
        move(self.debugger)
        if self.debugger.where == before:
            self.stopped("pause", self._edge())
        else:
            self.stopped(reason, f"Paused at {self.debugger.where}")

    def go_on(self, direction: int) -> None:
        """Run until a breakpoint, an interruption, or an end of the history."""
        debugger = self.debugger
        run = debugger.run if direction > 0 else debugger.run_back
        self.fault, self.is_moving = "", True
        run(lambda event: bool(self.interruptions))
        stop = debugger.stop
        if stop is not None and stop.breakpoint is not None:
            self._hit(stop.breakpoint)
        elif not self.interruptions:
            self.stopped("pause", self._edge())

    def _hit(self, hit: Breakpoint) -> None:
        reason = self.reasons.get(hit, "breakpoint")
        self.fault = self.faults.get(hit, "")
        about = {"nan": "where NaN is born", "inf": "where Inf is born"}
        description = f"Paused {about.get(self.fault, f'on {reason}: {clean(hit.where.text)}')}"
        self.stopped(reason, description, text=str(self.debugger.event), hit=[hit.number])

    def _edge(self) -> str:
        return f"Paused at the {'end' if self.debugger.at_end else 'start'} of the history"

    # -- breakpoints

    def replace(self, group: str) -> None:
        """Forget the breakpoints that were set by the last request of a group."""
        for made in self.groups.pop(group, []):
            self.reasons.pop(made, None)
            self.faults.pop(made, None)
            if self.debugger.breakpoints.get(made.number) is made:  # the console may have deleted it
                self.debugger.clear(made.number)
        self.groups[group] = []

    def tried(self, group: str, reason: str, make: Callable[[], Breakpoint], fault: str = "") -> dict[str, Any]:
        """Set a breakpoint and describe it to the client; where that fails it is not verified, and says why."""
        try:
            made = make()
        except GradvizError as error:
            return {"verified": False, "message": str(error)}
        self.groups[group].append(made)
        self.reasons[made], self.faults[made] = reason, fault
        return {"verified": True, "id": made.number}

    # -- variables

    def referred(self, container: Container | None) -> dict[str, Any]:
        """Return how the client can ask for the children of a container."""
        if container is None:
            return {"variablesReference": 0}
        counted = {"indexedVariables" if container.is_indexed else "namedVariables": len(container)}
        return {"variablesReference": self.references.add(container)} | (counted if container.is_counted else {})
