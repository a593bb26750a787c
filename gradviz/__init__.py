"""See and debug a computation graph while it learns.

Record a computation with `Tensor`, call ``backward()``, and look at it: `draw` makes the
picture with values and gradients in it, `steps` takes it apart one step at a time, `trace` and
`descend` keep every iteration of a gradient descent, and `open_run` opens them again.
"""

from . import notebooks
from .debugger.asserting import assert_finite, assert_grads, assert_reaches, assert_same
from .debugger.births import Birth
from .debugger.check import Mismatch
from .debugger.debugger import Debugger
from .debugger.events import Contribution, Step, Steps, steps
from .debugger.live import breakpoint, debug, debugging, post_mortem
from .debugger.positions import Position
from .engine import (
    GradcheckReport,
    Tensor,
    TensorValue,
    compile,
    constant,
    functions,
    gc_paused,
    grad,
    gradcheck,
    hessian,
    jacobian,
    nn,
    no_grad,
    numerical_grad,
    optim,
    register_op,
    scope,
    tensor,
    value_and_grad,
)
from .engine.functions import *  # noqa: F403 - every op by its name, see functions.__all__
from .errors import GradvizError
from .graphs import Frame, Graph, GraphDiff, Node, Source
from .rules.findings import Finding
from .sources import capture, frame, graph
from .sources.python import to_python
from .tracing.comparing import RunDiff, diff
from .tracing.descent import Descent, descend
from .tracing.divergence import Divergence
from .tracing.framediff import FrameDiff
from .tracing.many import Runs, open_runs
from .tracing.reading import Run, open_run
from .tracing.recorder import Trace, trace
from .views.dot import make_dot
from .views.drawing import Drawing, draw
from .views.motion import Animation, animate
from .views.networkx import from_networkx, to_networkx

notebooks.attach()

__version__ = "0.1.0"

__all__ = [
    "Animation",
    "Birth",
    "Contribution",
    "Debugger",
    "Descent",
    "Divergence",
    "Drawing",
    "Finding",
    "Frame",
    "FrameDiff",
    "GradcheckReport",
    "GradvizError",
    "Graph",
    "GraphDiff",
    "Mismatch",
    "Node",
    "Position",
    "Run",
    "RunDiff",
    "Runs",
    "Source",
    "Step",
    "Steps",
    "Tensor",
    "TensorValue",
    "Trace",
    "animate",
    "assert_finite",
    "assert_grads",
    "assert_reaches",
    "assert_same",
    "breakpoint",
    "capture",
    "compile",
    "constant",
    "debug",
    "debugging",
    "descend",
    "diff",
    "draw",
    "frame",
    "from_networkx",
    "gc_paused",
    "grad",
    "gradcheck",
    "graph",
    "hessian",
    "jacobian",
    "make_dot",
    "nn",
    "no_grad",
    "numerical_grad",
    "open_run",
    "open_runs",
    "optim",
    "post_mortem",
    "register_op",
    "scope",
    "steps",
    "tensor",
    "to_networkx",
    "to_python",
    "trace",
    "value_and_grad",
]
__all__ += functions.__all__
__all__.sort()
