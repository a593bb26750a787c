"""Motion: `animate` shows a computation forward and backward, or a run iteration by iteration, in one picture."""

from gradviz.views.motion.animation import Animation, animate

__all__ = ["Animation", "animate"]
