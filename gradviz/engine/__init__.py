"""The autograd engine: recording on NumPy, and gradients."""

from . import backward, memory, methods, nn, operators, optim, protocols
from .article import TensorValue
from .checking import GradcheckReport, gradcheck
from .compiled import compile
from .differences import numerical_grad
from .functional import grad, hessian, jacobian, value_and_grad
from .modes import gc_paused, no_grad, scope
from .registry import OPS, Op, register_op
from .tensor import Tensor, constant, tensor

memory.hold_freed_arrays()
backward.install()
methods.install()
operators.install()
protocols.install()

__all__ = [
    "OPS",
    "GradcheckReport",
    "Op",
    "Tensor",
    "TensorValue",
    "compile",
    "constant",
    "gc_paused",
    "grad",
    "gradcheck",
    "hessian",
    "jacobian",
    "nn",
    "no_grad",
    "numerical_grad",
    "optim",
    "register_op",
    "scope",
    "tensor",
    "value_and_grad",
]
