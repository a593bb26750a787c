"""A debugger inside a program that is running, or has just failed."""

from __future__ import annotations

from gradviz.debugger.blame import Birth
from gradviz.debugger.breaking import Stop
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.positions import Position
from gradviz.debugger.timeline import Timeline
from gradviz.debugger.variables import LiveNames, Variables
from gradviz.debugger.watching import Watching

__all__ = ["Attached", "LiveDebugger"]


class Attached:
    """Whether the program stops at all (``now``), and whether its standard input, if no terminal, has more to say.

    ``detach`` at a prompt switches the first off, the end of the input the second; `gradviz.debug` both on again.
    """

    now = True
    is_heard = True

    @classmethod
    def again(cls) -> None:
        """Stop again from now on."""
        cls.now = cls.is_heard = True


class LiveDebugger(Debugger):
    """A `Debugger` inside the user's program: in expressions it knows the user's variables as well.

    ``birth`` says where the NaN or the infinity was born that it has stopped for, if it was one.
    """

    def __init__(self, timeline: Timeline, variables: Variables) -> None:
        Watching.__init__(self, timeline)
        self.birth: Birth | None = None
        self.meet(variables)

    def meet(self, variables: Variables) -> None:
        """Use the variables of this moment from now on."""
        self.variables = variables
        self.names = LiveNames(self, variables)

    def stand(self, position: Position, reason: str) -> None:
        """Go to where something happened, and say why."""
        self.cursor.position = position
        self.stop = Stop(position, reason)
