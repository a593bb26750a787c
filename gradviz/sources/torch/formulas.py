"""The derivatives of PyTorch's functions as formulas for people, and the signs they are drawn with.

In a formula ``{0}`` is the first positional argument of the function and ``{y}`` its result; ``{alpha=1}`` is an
argument by name, with its default. What is the same in gradviz's engine is taken from there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from gradviz.sources import own

__all__ = ["CONDITIONS", "Look", "filled_in", "look_of"]

Look = tuple[str, tuple[str, ...], bool]

# what PyTorch calls an op that gradviz's engine has by another name: the sign and the derivative are the same
ALIASES = {
    "true_divide": "div", "divide": "div", "multiply": "mul", "subtract": "sub", "negative": "neg", "absolute": "abs",
    "positive": "pos", "mm": "matmul", "bmm": "matmul", "mv": "matmul", "clamp": "clip", "clamp_min": "clip",
    "clamp_max": "clip", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "asinh": "arcsinh",
    "acosh": "arccosh", "atanh": "arctanh", "cat": "concatenate", "concat": "concatenate", "permute": "transpose",
    "t": "transpose", "T": "transpose", "mT": "transpose", "adjoint": "transpose", "swapdims": "swapaxes",
    "movedim": "moveaxis", "view": "reshape", "view_as": "reshape", "reshape_as": "reshape", "_unsafe_view": "reshape",
    "flatten": "reshape", "unflatten": "reshape", "ravel": "reshape", "unsqueeze": "expand_dims",
    "expand": "broadcast_to", "expand_as": "broadcast_to", "mse_loss": "mse", "l1_loss": "mae", "nll_loss": "nll",
    "binary_cross_entropy_with_logits": "bce_with_logits", "to": "astype", "float": "astype", "_to_copy": "astype",
    "double": "astype", "half": "astype", "bfloat16": "astype", "type": "astype", "clone": "copy",
    "contiguous": "copy", "alias": "copy", "lift_fresh": "copy", "floor_divide": "floordiv", "remainder": "mod",
    "index_select": "getitem", "select": "getitem", "slice": "getitem", "narrow": "getitem", "gather": "getitem",
    "masked_select": "getitem", "index": "getitem", "take": "getitem", "take_along_dim": "getitem", "amax": "max",
    "amin": "min", "_softmax": "softmax", "_log_softmax": "log_softmax", "fix": "trunc", "repeat_interleave": "repeat",
    "hstack": "concatenate", "vstack": "concatenate", "column_stack": "concatenate", "linalg_inv": "inv",
    "inverse": "inv", "linalg_det": "det", "linalg_solve": "solve", "linalg_cholesky": "cholesky", "fliplr": "flip",
    "flipud": "flip", "conv3d": "conv2d", "convolution": "conv2d", "adaptive_max_pool2d": "max_pool2d",
    "adaptive_max_pool1d": "max_pool1d", "max_pool3d": "max_pool2d", "max_pool2d_with_indices": "max_pool2d",
    "avg_pool3d": "avg_pool2d", "matrix_exp": "matrix_exp", "tile": "tile", "ger": "outer",
}  # fmt: skip
EACH, WHOLE = True, False
TEMPLATES: dict[str, Look] = {
    "add": ("+", ("1", "{alpha=1}"), EACH),
    "sub": ("-", ("1", "-{alpha=1}"), EACH),
    "rsub": ("-", ("-{alpha=1}", "1"), EACH),
    "addcmul": ("addcmul", ("1", "{value=1}*{2}", "{value=1}*{1}"), EACH),
    "addcdiv": ("addcdiv", ("1", "{value=1}/{2}", "-{value=1}*{1}/{2}²"), EACH),
    "lerp": ("lerp", ("1 - {2}", "{2}", "{1} - {0}"), EACH),
    "rsqrt": ("rsqrt", ("-{y}³/2",), EACH),
    "square": ("square", ("2*{0}",), EACH),
    "erfc": ("erfc", ("-2/sqrt(pi)*exp(-{0}²)",), EACH),
    "erfinv": ("erfinv", ("sqrt(pi)/2*exp({y}²)",), EACH),
    "logit": ("logit", ("1/({0}*(1 - {0}))",), EACH),
    "lgamma": ("lgamma", ("digamma({0})",), EACH),
    "xlogy": ("xlogy", ("log({1})", "{0}/{1}"), EACH),
    "copysign": ("copysign", ("{y}/{0}", "0"), EACH),
    "frac": ("frac", ("1",), EACH),
    "masked_fill": ("masked_fill", ("[not {1}]", "", "number of {1}"), EACH),
    "detach": ("detach", ("0",), EACH),
    "dropout": ("dropout", ("{y}/{0}",), EACH),
    "leaky_relu": ("leaky_relu", ("[{0} > 0] + {1=0.01}*[{0} <= 0]",), EACH),
    "prelu": ("prelu", ("[{0} > 0] + {1}*[{0} <= 0]", "{0}*[{0} <= 0]"), WHOLE),
    "elu": ("elu", ("[{0} > 0] + ({y} + {1=1})*[{0} <= 0]",), EACH),
    "celu": ("celu", ("[{0} > 0] + ({y}/{1=1} + 1)*[{0} <= 0]",), EACH),
    "hardtanh": ("hardtanh", ("[{1=-1} < {0} < {2=1}]",), EACH),
    "relu6": ("relu6", ("[0 < {0} < 6]",), EACH),
    "hardsigmoid": ("hardsigmoid", ("[-3 < {0} < 3]/6",), EACH),
    "hardswish": ("hardswish", ("[{0} >= 3] + (2*{0} + 3)/6*[-3 < {0} < 3]",), EACH),
    "softplus": ("softplus", ("sigmoid({1=1}*{0})",), EACH),
    "logsigmoid": ("logsigmoid", ("1 - exp({y})",), EACH),
    "softsign": ("softsign", ("1/(1 + abs({0}))²",), EACH),
    "tanhshrink": ("tanhshrink", ("({0} - {y})²",), EACH),
    "softshrink": ("softshrink", ("[abs({0}) > {1=0.5}]",), EACH),
    "hardshrink": ("hardshrink", ("[abs({0}) > {1=0.5}]",), EACH),
    "threshold": ("threshold", ("[{0} > {1}]",), EACH),
    "linear": ("linear", ("{1}", "{0}", "1"), WHOLE),
    "addmm": ("addmm", ("1", "{2}ᵀ", "{1}ᵀ"), WHOLE),
    "baddbmm": ("baddbmm", ("1", "{2}ᵀ", "{1}ᵀ"), WHOLE),
    "addmv": ("addmv", ("1", "{2}ᵀ", "{1}ᵀ"), WHOLE),
    "conv1d": ("conv", ("fold(g·{1})", "g·windows({0})", "1"), WHOLE),
    "conv2d": ("conv", ("fold(g·{1})", "g·windows({0})", "1"), WHOLE),
    "conv_transpose2d": ("convᵀ", ("conv(g, {1})", "", "1"), WHOLE),
    "conv_transpose1d": ("convᵀ", ("conv(g, {1})", "", "1"), WHOLE),
    "batch_norm": ("batch_norm", ("", "", "", "standardized({0})", "1"), WHOLE),
    "native_batch_norm": ("batch_norm", ("", "standardized({0})", "1"), WHOLE),
    "layer_norm": ("layer_norm", ("", "", "standardized({0})", "1"), WHOLE),
    "native_layer_norm": ("layer_norm", ("", "", "standardized({0})", "1"), WHOLE),
    "group_norm": ("group_norm", ("", "", "standardized({0})", "1"), WHOLE),
    "instance_norm": ("instance_norm", (), WHOLE),
    "rms_norm": ("rms_norm", (), WHOLE),
    "embedding": ("embedding", ("", "1 at the rows, else 0"), WHOLE),
    "adaptive_avg_pool1d": ("avg", ("1/window",), WHOLE),
    "adaptive_avg_pool2d": ("avg", ("1/window",), WHOLE),
    "scaled_dot_product_attention": ("attention", (), WHOLE),
    "multi_head_attention_forward": ("attention", (), WHOLE),
    "setitem": ("[ ]=", ("0 at the index, else 1", "", "1 at the index"), WHOLE),
    "index_put": ("[ ]=", (), WHOLE),
    "split": ("split", ("1",), WHOLE),
    "chunk": ("chunk", ("1",), WHOLE),
    "unbind": ("unbind", ("1",), WHOLE),
    "tensor_split": ("split", ("1",), WHOLE),
    "topk": ("topk", ("1 where it came from, else 0",), WHOLE),
    "kthvalue": ("kthvalue", ("1 where it came from, else 0",), WHOLE),
    "median": ("median", ("1 where it came from, else 0",), WHOLE),
    "var": ("var", ("2*({0} - mean)/(n - {correction=1})",), WHOLE),
    "std": ("std", ("({0} - mean)/((n - {correction=1})*{y})",), WHOLE),
    "smooth_l1_loss": ("smooth_l1", ("clip(({0} - {1})/{beta=1}, ±1)/n", "-clip(({0} - {1})/{beta=1}, ±1)/n"), WHOLE),
    "huber_loss": ("huber", ("clip({0} - {1}, ±{delta=1})/n", "-clip({0} - {1}, ±{delta=1})/n"), WHOLE),
    "kl_div": ("kl_div", ("-{1}/n", "(log({1}) + 1 - {0})/n"), WHOLE),
    "written": ("write", (), WHOLE),
    "as_strided_scatter": ("write", ("0 where it was written, else 1", "1"), WHOLE),
}
# what makes a formula wrong if it is given and is not this
CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    "gelu": {"approximate": "none"},
    "norm": {"p": ("fro", 2, 2.0), "dim": None},
    "linalg_vector_norm": {"ord": (2, 2.0)},
    "cross_entropy": {"weight": None, "label_smoothing": 0.0},
    "nll_loss": {"weight": None},
    "binary_cross_entropy": {"weight": None},
    "binary_cross_entropy_with_logits": {"weight": None, "pos_weight": None},
    "kl_div": {"log_target": False},
    "addmm": {"alpha": 1, "beta": 1},
    "baddbmm": {"alpha": 1, "beta": 1},
    "addmv": {"alpha": 1, "beta": 1},
    "div": {"rounding_mode": None},
    "var": {"unbiased": True},
    "std": {"unbiased": True},
    "softplus": {"threshold": 20},
    "repeat_interleave": {},
}
SIGNS = {"add": "+=", "sub": "-=", "mul": "*=", "div": "/=", "pow": "**="}
PLACEHOLDER = re.compile(r"\{(\w+)(?:=([^}]*))?\}")
TIMES_ONE = re.compile(r"(?<![\w.)²³])1\*(?=[\w({])")


@lru_cache(maxsize=4096)
def look_of(op: str) -> Look:
    """Return the sign of an op, its derivatives by each argument as formulas, and whether it goes element by element.

    >>> look_of("mul_")
    ('*=', ('{1}', '{0}'), True)
    """
    base = op.rstrip("_") or op
    name = ALIASES.get(base, base)
    sign, formulas, is_elementwise = TEMPLATES.get(base) or TEMPLATES.get(name) or own.look_of(name) or (op, (), False)
    if op != base and base in SIGNS:
        sign = SIGNS[base]
    return sign, formulas, is_elementwise


def filled_in(template: str, given: Mapping[str, str]) -> str:
    """Return a formula with texts in place of the arguments, ``""`` if one of them is not known.

    >>> filled_in("{1}*{0}**({1}-1)", {"0": "{0}", "1": "3"})
    '3*{0}**2'
    >>> filled_in("[{0} > 0] + {1=0.01}*[{0} <= 0]", {"0": "{0}"})
    '[{0} > 0] + 0.01*[{0} <= 0]'
    """
    unknown = [m for m in PLACEHOLDER.finditer(template) if m[1] != "y" and m[2] is None and m[1] not in given]
    if unknown:
        return ""
    text = PLACEHOLDER.sub(lambda m: "{y}" if m[1] == "y" else given.get(m[1], m[2] or ""), template)
    return _simplified(text)


def _simplified(text: str) -> str:
    """Return a formula without what a literal has made needless: ``**(3-1)``, ``1*``, ``**1``."""
    text = re.sub(r"\*\*\(([\d.]+)-1\)", lambda m: f"**{float(m[1]) - 1:g}", text)
    text = re.sub(r"\*\*1(?![\d.])", "", text)
    text = text.replace("--", "") if text.startswith("--") else text
    return TIMES_ONE.sub("", text)


def of_reduction(formulas: Sequence[str], reduction: Any) -> tuple[str, ...]:
    """Return the formulas of a loss that is averaged as they are, those of one that is not without ``/n``.

    >>> of_reduction(("2*({0} - {1})/n",), "sum")
    ('2*({0} - {1})',)
    """
    if reduction in {None, "mean", 1}:
        return tuple(formulas)
    if reduction in {"sum", "none", 0, 2}:
        return tuple([formula.removesuffix("/n") for formula in formulas])
    return ()
