"""How a function of PyTorch is called and drawn: its name, its sign, its derivative, its arguments by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from gradviz.sources import own
from gradviz.sources.torch.calls import SLOT, Call

__all__ = ["REVERSED", "attributes", "is_elementwise", "look_of", "name_of"]

# what PyTorch calls an op that gradviz's engine has by another name: the sign and the derivative are the same
ALIASES = {
    "true_divide": "div", "divide": "div", "multiply": "mul", "subtract": "sub", "negative": "neg", "absolute": "abs",
    "mm": "matmul", "bmm": "matmul", "mv": "matmul", "clamp": "clip", "clamp_min": "clip", "clamp_max": "clip",
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", "cat": "concatenate", "concat": "concatenate", "permute": "transpose", "t": "transpose",
    "view": "reshape", "flatten": "reshape", "unflatten": "reshape", "unsqueeze": "expand_dims", "reshape": "reshape",
    "expand": "broadcast_to", "expand_as": "broadcast_to", "mse_loss": "mse", "l1_loss": "mae", "huber_loss": "huber",
    "nll_loss": "nll", "binary_cross_entropy_with_logits": "bce_with_logits", "to": "astype", "float": "astype",
    "double": "astype", "clone": "copy", "contiguous": "copy", "floor_divide": "floordiv", "remainder": "mod",
    "index_select": "getitem", "select": "getitem", "slice": "getitem",
}  # fmt: skip
SAME_ARGUMENTS = frozenset(
    ("matmul", "transpose", "reshape", "expand_dims", "broadcast_to", "getitem", "astype", "copy")
)
EXTRA: dict[str, tuple[str, tuple[str, ...]]] = {
    "linear": ("linear", ("{1}", "{0}", "1")),
    "addmm": ("addmm", ("1", "{2}ᵀ", "{1}ᵀ")),
    "rsqrt": ("rsqrt", ("-{y}³/2",)),
    "square": ("square", ("2*{0}",)),
    "logsigmoid": ("logsigmoid", ("1 - exp({y})",)),
    "detach": ("detach", ("0",)),
}
REVERSED = frozenset(("radd", "rsub", "rmul", "rdiv", "rtruediv", "rfloordiv", "rpow", "rmatmul", "rmod"))
SPELLED = {
    "truediv": "div",
    "iadd": "add_",
    "isub": "sub_",
    "imul": "mul_",
    "itruediv": "div_",
    "idiv": "div_",
    "ipow": "pow_",
}
CONSTANTS = frozenset(("add", "sub", "mul", "div", "pow", "maximum", "minimum", "remainder", "fmod", "atan2"))


def name_of(func: Any) -> tuple[str, bool]:
    """Return what the node of a function is called, and whether it takes its two operands the other way round.

    >>> import torch
    >>> name_of(torch.Tensor.__rsub__), name_of(torch.nn.functional.relu), name_of(torch.Tensor.add_)
    (('sub', True), ('relu', False), ('add_', False))
    """
    name = str(getattr(func, "__name__", None) or type(func).__name__)
    if name.startswith("__") and name.endswith("__"):
        name = name[2:-2]
    name = name.rpartition(".")[2]
    if name in REVERSED:
        return SPELLED.get(name[1:], name[1:]), True
    return SPELLED.get(name, name), False


@lru_cache(maxsize=4096)
def look_of(op: str) -> tuple[str, tuple[str, ...], bool]:
    """Return the sign of an op, its derivatives by each operand as formulas, and whether it goes element by element.

    >>> look_of("mul_")
    ('*', ('{1}', '{0}'), True)
    """
    base = op.removesuffix("_")
    if base in EXTRA:
        return *EXTRA[base], base in {"rsqrt", "square", "logsigmoid"}
    return own.look_of(ALIASES.get(base, base)) or (op, (), False)


def is_elementwise(op: str) -> bool:
    """Tell whether each element of the result depends on one element of each operand."""
    return look_of(op)[2]


def attributes(call: Call) -> dict[str, Any]:
    """Return what a function was given beside its operands, by the names its arguments have.

    >>> import torch
    >>> attributes(Call("sum", func=torch.sum, args=(SLOT, 1), kwargs={"keepdim": True}))
    {'dim': 1, 'keepdim': True}
    """
    found: dict[str, Any] = {}
    names = _parameter_names(call.func, len(call.args)) if call.func is not None else ()
    for place, value in enumerate(call.args):
        if not _is_operand(value):
            found[names[place] if place < len(names) else f"argument_{place}"] = value
    defaults = _defaults(call.func) if call.kwargs else {}
    given = ((name, value) for name, value in call.kwargs.items() if not _is_operand(value) and value is not None)
    found |= {name: value for name, value in given if name not in defaults or defaults[name] != value}
    if call.index is not None:
        found["index"] = call.index
    return found


def _is_operand(value: Any) -> bool:
    if isinstance(value, tuple | list) and value:
        return all(item is SLOT for item in value)
    return value is SLOT


@lru_cache(maxsize=4096)
def _parameter_names(func: Callable[..., Any], count: int) -> tuple[str, ...]:
    """Return the names of the positional parameters, as the function's signature or PyTorch's schema has them."""
    try:
        return tuple(inspect.signature(func).parameters)
    except (ValueError, TypeError):
        return next((names for names in _schemas(name_of(func)[0]) if len(names) >= count), ())


def _schemas(op: str) -> Iterator[tuple[str, ...]]:
    import torch

    found = torch._C._jit_get_schemas_for_operator(f"aten::{op}")
    for schema in sorted(found, key=lambda schema: len(schema.arguments)):
        yield tuple(argument.name for argument in schema.arguments if not argument.kwarg_only)


@lru_cache(maxsize=1024)
def _defaults(func: Any) -> Mapping[str, Any]:
    try:
        parameters: Sequence[inspect.Parameter] = tuple(inspect.signature(func).parameters.values())
    except (ValueError, TypeError):
        return {}
    return {p.name: p.default for p in parameters if p.default is not p.empty}
