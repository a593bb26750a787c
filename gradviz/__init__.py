"""See and debug a computation graph while it learns."""

from .engine import Tensor, constant, gc_paused, no_grad, register_op, scope, tensor
from .engine.functions import *
from .sources import frame, graph

__version__ = "0.1.0"
