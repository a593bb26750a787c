"""The autograd engine: recording on NumPy, and gradients."""

from . import methods, operators, protocols
from .modes import gc_paused, no_grad, scope
from .registry import OPS, Op, register_op
from .tensor import Tensor, constant, tensor

methods.install()
operators.install()
protocols.install()
