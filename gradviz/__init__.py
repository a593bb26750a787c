"""See and debug a computation graph while it learns.

Record a computation with `Tensor`, call ``backward()``, and look at it: `draw` makes the
picture with values and gradients in it, `steps` takes it apart one step at a time, `trace` and
`descend` keep every iteration of a gradient descent, and `open_run` opens them again.
"""

from .debugger.events import Contribution, Step, Steps, steps
from .engine import (
    GradcheckReport,
    Tensor,
    TensorValue,
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
from .sources import frame, graph
from .tracing.comparing import RunDiff, diff
from .tracing.descent import Descent, descend
from .tracing.framediff import FrameDiff
from .tracing.many import Runs, open_runs
from .tracing.reading import Run, open_run
from .tracing.recorder import Trace, trace
from .views.dot import make_dot
from .views.drawing import Drawing, draw
from .views.networkx import from_networkx, to_networkx

__version__ = "0.1.0"

__all__ = [
    "Contribution",
    "Descent",
    "Drawing",
    "Finding",
    "Frame",
    "FrameDiff",
    "GradcheckReport",
    "GradvizError",
    "Graph",
    "GraphDiff",
    "Node",
    "Run",
    "RunDiff",
    "Runs",
    "Source",
    "Step",
    "Steps",
    "Tensor",
    "TensorValue",
    "Trace",
    "constant",
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
    "register_op",
    "scope",
    "steps",
    "tensor",
    "to_networkx",
    "trace",
    "value_and_grad",
]
__all__ += functions.__all__
__all__.sort()
