"""What usually helps: the safe way to write an op that made a NaN or an infinity."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from gradviz.graphs import Frame, Node
from gradviz.rules.origins import BACKWARD, Origin

__all__ = ["REWRITES", "Rewrite", "advice"]


class Rewrite(NamedTuple):
    """Code to write in place of an op, with ``{x}`` and ``{y}`` for its operands, and words about it."""

    code: str
    words: str = ""


INSIDE = "eps a small number, 1e-12, of float32 1e-6"
EXP = "or subtract the largest first, as softmax, log_softmax and logsumexp do"
LOG = "log_softmax or bce_with_logits in place of the log of a softmax or sigmoid"
BOUND = "if it grows from step to step: a smaller lr, or clip the gradient"

REWRITES: Mapping[str, Rewrite] = {
    "arccos": Rewrite("np.arccos(np.clip({x}, -1 + eps, 1 - eps))", INSIDE),
    "arccosh": Rewrite("np.arccosh(np.maximum({x}, 1 + eps))", INSIDE),
    "arcsin": Rewrite("np.arcsin(np.clip({x}, -1 + eps, 1 - eps))", INSIDE),
    "arctan2": Rewrite("np.arctan2({x}, np.where(({x} == 0) & ({y} == 0), eps, {y}))", "there is no angle at (0, 0)"),
    "arctanh": Rewrite("np.arctanh(np.clip({x}, -1 + eps, 1 - eps))", INSIDE),
    "cbrt": Rewrite("np.cbrt(np.where(np.abs({x}) < eps, eps, {x}))", "its derivative is infinite at 0"),
    "cosh": Rewrite("np.cosh(np.clip({x}, -80, 80))"),
    "div": Rewrite("{x} / np.where(np.abs({y}) < eps, eps, {y})", INSIDE),
    "exp": Rewrite("np.exp(np.minimum({x}, 80))", EXP),
    "exp2": Rewrite("np.exp2(np.minimum({x}, 120))", EXP),
    "expm1": Rewrite("np.expm1(np.minimum({x}, 80))", EXP),
    "hypot": Rewrite("np.sqrt({x}**2 + {y}**2 + eps)", "its derivative is 0/0 at (0, 0)"),
    "log": Rewrite("np.log(np.maximum({x}, eps))", LOG),
    "log10": Rewrite("np.log10(np.maximum({x}, eps))", LOG),
    "log1p": Rewrite("np.log1p(np.maximum({x}, eps - 1))", INSIDE),
    "log2": Rewrite("np.log2(np.maximum({x}, eps))", LOG),
    "mod": Rewrite("np.mod({x}, np.where({y} == 0, eps, {y}))", INSIDE),
    "pow": Rewrite("np.maximum({x}, eps) ** {y}", "a base that cannot be 0 or negative"),
    "reciprocal": Rewrite("np.reciprocal(np.where(np.abs({x}) < eps, eps, {x}))", INSIDE),
    "sinh": Rewrite("np.sinh(np.clip({x}, -80, 80))"),
    "sqrt": Rewrite("np.sqrt(np.maximum({x}, 0) + eps)", "its derivative is infinite at 0"),
}
OF_TORCH: Mapping[str, Rewrite] = {
    "logit": Rewrite("torch.logit({x}, eps=1e-6)"),
    "rsqrt": Rewrite("torch.rsqrt({x}.clamp(min=0) + eps)", "it is infinite at 0"),
    "std": Rewrite("torch.sqrt(torch.var({x}) + eps)", "its derivative is infinite where all numbers are the same"),
}
SPELLED = {  # what PyTorch calls them
    "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan2": "arctan2", "atanh": "arctanh",
    "divide": "div", "fmod": "mod", "remainder": "mod", "true_divide": "div", "multiply": "mul", "mse_loss": "mse",
    "subtract": "sub", "mm": "matmul", "bmm": "matmul", "linear": "matmul", "addmm": "matmul", "baddbmm": "matmul",
    "scaled_dot_product_attention": "softmax",
}  # fmt: skip
BOUNDS = ((re.compile(r"np\.maximum\(([^(),]+), ([^(),]+)\)"), r"\1.clamp(min=\2)"),
          (re.compile(r"np\.minimum\(([^(),]+), ([^(),]+)\)"), r"\1.clamp(max=\2)"),
          (re.compile(r"\bnp\.mod\b"), "torch.remainder"), (re.compile(r"\bnp\."), "torch."))  # fmt: skip
LARGE = f"smaller numbers: scale what goes in, or add logarithms where factors multiply; {BOUND}"
OVERFLOWING = frozenset(
    {
        "add", "conv1d", "conv2d", "cumprod", "cumsum", "dot", "einsum", "inner", "matmul", "mean", "mse", "mul",
        "outer", "prod", "square", "sub", "sum", "tensordot",
    }
)  # fmt: skip
ROWS = "leave something of every row unmasked, or take the rows that are all masked out before"
OF_ROWS = frozenset({"log_softmax", "logaddexp", "logsumexp", "softmax"})
LARGE_BASE = f"np.minimum({{x}}, bound) ** {{y}}: a base that stays small; {BOUND}"
LEAVES = {
    "param": "other starting values, or load them again",
    "input": "clean the data: x[np.isfinite(x)], or np.nan_to_num(x)",
    "const": "clean the data: x[np.isfinite(x)], or np.nan_to_num(x)",
}
CHOOSE = "what hides it in the value, where() or a factor of 0, does not in the gradient; choose the argument, too"


def advice(frame: Frame, found: Origin) -> str:
    """Return what usually helps where this was born, in the names of the graph; "" if nothing is known."""
    node = found.node
    if frame.meta.get("source") != "torch":
        return _advice(frame, found, node.op)
    op = node.op.removesuffix("_")
    return _as_torch(_advice(frame, found, SPELLED.get(op, op)))


def _as_torch(text: str) -> str:
    """Return code for NumPy as code for PyTorch.

    >>> _as_torch("np.log(np.maximum(x, eps))")
    'torch.log(x.clamp(min=eps))'
    """
    for pattern, replacement in BOUNDS:
        text = pattern.sub(replacement, text)
    return text


def _advice(frame: Frame, found: Origin, op: str) -> str:
    node = found.node
    if node.kind != "op":
        return LEAVES.get(node.kind, "")
    names = {key: _name(frame, node, arg) for arg, key in enumerate("xy")}
    if found.is_masked or (found.phase == BACKWARD and 0.0 in _came_in(found)):
        return _of_masked(op, names)
    if op == "sub" and found.operands and all(x in {math.inf, -math.inf} for x in found.operands.values()):
        return ROWS
    if op == "pow" and _is_large(frame, found):
        return LARGE_BASE.format(**names)
    rewrite = REWRITES.get(op) or OF_TORCH.get(op)
    if rewrite is None:
        return LARGE if op in OVERFLOWING else ROWS if op in OF_ROWS else ""
    return ": ".join(filter(None, (rewrite.code.format(**names), rewrite.words)))


def _came_in(found: Origin) -> tuple[object, ...]:
    """Return the gradient that came in: 0 if another branch was chosen."""
    return tuple(number for name, number in found.operands.items() if name == f"d/d({found.node.name})")


def _of_masked(op: str, names: Mapping[str, str]) -> str:
    """Return the double where: around the argument and around the result."""
    x, y = names["x"], names["y"]
    safe = {"div": f"{x} / np.where(ok, {y}, 1)", "pow": f"np.where(ok, {x}, 1) ** {y}"}
    code = safe.get(op, f"np.{op}(np.where(ok, {x}, 1))" if op in REWRITES else "")
    return f"{CHOOSE}: np.where(ok, {code}, other)" if code else CHOOSE


def _is_large(frame: Frame, found: Origin) -> bool:
    """Tell a power that overflowed from one of 0 or of a negative number."""
    base = found.operands.get(frame.graph.nodes[found.node.inputs[0]].name)
    return isinstance(base, float) and abs(base) > 1


def _name(frame: Frame, node: Node, arg: int) -> str:
    """Return the name of an operand where a person gave it one, else a letter; a number as it is."""
    if arg >= len(node.inputs):
        return "y"
    source = frame.graph.nodes[node.inputs[arg]]
    value = frame.values[source.id]
    if source.kind == "const" and isinstance(value, float):
        return f"{value:g}"
    own = source.name.isidentifier() and not source.name.startswith((f"{source.op}_", "const_", "input_", "param_"))
    return source.name if own else "xy"[arg]
