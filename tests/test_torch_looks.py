"""How functions of PyTorch are shown: every formula beside what PyTorch itself sends, and attributes by name."""

import math
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from gradviz.sources.torch.calls import Call, with_slots  # noqa: E402
from gradviz.sources.torch.framing import frame_of, structure_of  # noqa: E402
from gradviz.sources.torch.looks import attributes, is_elementwise, look_at, name_of  # noqa: E402


def call_of(func, *args, **kwargs):
    """A call as the recorder makes it, and the values of its operands."""
    operands = []
    slotted, named = with_slots((args, kwargs), operands)
    op, _ = name_of(func)
    return Call(op, inputs=tuple(range(len(operands))), func=func, args=slotted, kwargs=named), operands


def frame(func, *args, **kwargs):
    call, operands = call_of(func, *args, **kwargs)
    leaves = [Call("x", "param", value=t, shape=tuple(t.shape), dtype=str(t.dtype)[6:], name=f"x{i}")
              for i, t in enumerate(operands)]  # fmt: skip
    call.value = func(*args, **kwargs)
    call.shape, call.dtype, call.name = tuple(call.value.shape), str(call.value.dtype)[6:], "y"
    calls = [*leaves, call]
    return frame_of(calls, structure_of(calls, [len(leaves)]))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


WORDS = {
    "exp": np.exp, "log": np.log, "sin": np.sin, "cos": np.cos, "sinh": np.sinh, "cosh": np.cosh, "sqrt": np.sqrt,
    "tanh": np.tanh, "abs": np.abs, "sign": np.sign, "floor": np.floor, "trunc": np.trunc, "sigmoid": sigmoid,
    "pi": math.pi, "Φ": lambda x: (1 + torch.erf(torch.tensor(x) / 2**0.5).numpy()) / 2,
    "φ": lambda x: np.exp(-x * x / 2) / np.sqrt(2 * math.pi), "digamma": lambda x: torch.tensor(x).digamma().numpy(),
    "true": lambda x: np.asarray(x, float), "isin": lambda low, x, high: np.asarray((low < x) & (x < high), float),
    "isfinite": np.isfinite,
}  # fmt: skip


def evaluated(formula, names):
    """The number that a formula stands for."""
    text = re.sub(r"\[([^<\]]+) < ([^<\]]+) < ([^<\]]+)\]", r"isin(\1, \2, \3)", formula)
    text = re.sub(r"\[not ([^\]]+)\]", r"(1 - true(\1))", text)
    text = re.sub(r"\[([^\]]+) is finite\]", r"true(isfinite(\1))", text)
    text = re.sub(r"\[([^\]]+) = ([^\]]+)\]", r"true(\1 == \2)", text)
    text = re.sub(r"\[([^\]]+)\]", r"true(\1)", text)
    text = text.replace("²", "**2").replace("³", "**3")
    return eval(text, {"__builtins__": {}}, {**WORDS, **names})


def t(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


ANY = t(-1.7, -0.4, 0.3, 1.2, 4.5)
OTHER = t(0.8, -2.5, 1.1, -0.6, 3.2)
POSITIVE = t(0.3, 0.7, 1.4, 2.5, 3.5)
PART = t(-0.8, -0.3, 0.2, 0.5, 0.9)
INNER = t(0.1, 0.3, 0.5, 0.7, 0.9)
BEYOND = t(1.1, 1.5, 2.0, 3.0, 4.0)
MASK = torch.tensor([True, False, True, False, False])

UNARY = [
    (ANY, "neg abs exp exp2 expm1 sin cos tan sinh cosh tanh sigmoid relu square erf erfc sinc floor ceil trunc round "
          "sign frac positive deg2rad rad2deg reciprocal nan_to_num clone detach selu celu atan arctan asinh arcsinh"),
    (POSITIVE, "log log2 log10 log1p sqrt rsqrt lgamma reciprocal"),
    (PART, "asin arcsin acos arccos atanh arctanh erfinv"),
    (INNER, "logit"),
    (BEYOND, "acosh arccosh"),
]  # fmt: skip
ACTIVATIONS = (
    "relu relu6 elu selu celu leaky_relu silu gelu mish softplus logsigmoid softsign tanhshrink softshrink hardshrink "
    "hardtanh hardswish hardsigmoid tanh sigmoid"
)
BINARY = "add sub mul div maximum minimum fmod remainder copysign hypot logaddexp logaddexp2 atan2"
CALLS = [
    *((getattr(torch, name), (x,), {}) for x, names in UNARY for name in names.split()),
    *((getattr(F, name), (ANY,), {}) for name in ACTIVATIONS.split()),
    *((getattr(torch, name), (ANY, OTHER), {}) for name in
      BINARY.split()),
    (F.leaky_relu, (ANY, 0.2), {}),
    (F.leaky_relu, (ANY,), {"negative_slope": 0.3}),
    (F.elu, (ANY, 0.7), {}),
    (F.hardtanh, (ANY, -0.5, 2.0), {}),
    (F.softplus, (ANY, 3.0), {}),
    (F.softplus, (ANY,), {"beta": 0.5}),
    (F.threshold, (ANY, 0.1, 20.0), {}),
    (F.softshrink, (ANY, 0.3), {}),
    (F.celu, (ANY, 1.5), {}),
    (torch.clamp, (ANY, -0.5, 2.0), {}),
    (torch.clamp, (ANY,), {"max": 2.0}),
    (torch.Tensor.clamp_min, (ANY, 0.0), {}),
    (torch.add, (ANY, OTHER), {"alpha": 3}),
    (torch.sub, (ANY, OTHER), {"alpha": -2}),
    (torch.Tensor.add, (ANY, 2), {}),
    (torch.Tensor.mul, (ANY, 2.5), {}),
    (torch.Tensor.mul, (ANY, -2.5), {}),
    (torch.Tensor.__rsub__, (ANY, 2), {}),
    (torch.Tensor.__rdiv__, (ANY, 2), {}),
    (torch.Tensor.__rpow__, (ANY, 2), {}),
    (torch.Tensor.div, (ANY, 4), {}),
    (torch.Tensor.sub, (ANY, 4), {}),
    (torch.Tensor.pow, (ANY, 2), {}),
    (torch.Tensor.pow, (ANY, 3), {}),
    (torch.Tensor.pow, (POSITIVE, 0.5), {}),
    (torch.Tensor.pow, (POSITIVE, -1), {}),
    (torch.pow, (2.0, ANY), {}),
    (torch.pow, (POSITIVE, OTHER), {}),
    (torch.div, (ANY, OTHER), {"rounding_mode": "floor"}),
    (torch.Tensor.__truediv__, (ANY, OTHER), {}),
    (torch.Tensor.__floordiv__, (ANY, 0.7), {}),
    (torch.Tensor.__mod__, (ANY, 0.7), {}),
    (torch.xlogy, (ANY, POSITIVE), {}),
    (torch.lerp, (ANY, OTHER, INNER), {}),
    (torch.lerp, (ANY, OTHER, 0.25), {}),
    (torch.addcmul, (ANY, OTHER, POSITIVE), {"value": 0.5}),
    (torch.addcdiv, (ANY, OTHER, POSITIVE), {}),
    (torch.where, (MASK, ANY, OTHER), {}),
    (torch.Tensor.where, (ANY, MASK, OTHER), {}),
    (torch.masked_fill, (ANY, MASK, 3.0), {}),
    (torch.Tensor.double, (ANY,), {}),
    (torch.Tensor.add_, (ANY, OTHER), {}),
    (torch.Tensor.mul_, (ANY, 3), {}),
    (torch.ops.aten.mul.Tensor, (ANY, OTHER), {}),
    (torch.ops.aten.rsub.Scalar, (ANY, 3), {}),
]  # fmt: skip


@pytest.mark.parametrize(("func", "args", "kwargs"), CALLS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_formula_is_what_pytorch_sends(func, args, kwargs):
    args = tuple(a.clone() if isinstance(a, torch.Tensor) else a for a in args)
    found = frame(func, *args, **kwargs)
    *leaves, y = found.graph
    assert is_elementwise(y.op)
    names = {node.name: found.value(node) for node in found.graph}
    if y.op.endswith("_"):
        names["x0"] = frame(func, *args, **kwargs).value("x0")
    compared = 0
    for arg, leaf in enumerate(leaves):
        formula, local = found.graph.formula("y", arg), found.local(leaf, "y", arg)
        if local is None:
            assert formula in {"", "0"} or leaf.dtype == "bool" or y.op == "detach", formula
            continue
        assert formula, leaf
        np.testing.assert_allclose(
            np.broadcast_to(evaluated(formula, names), local.shape), local, rtol=2e-4, atol=1e-12
        )
        compared += 1
    assert compared or y.op in {"detach", "__floordiv__", "floor_divide"}


X = torch.ones(2, 3, 4, 4, dtype=torch.float64)
W = torch.ones(5, 3, 3, 3, dtype=torch.float64)
ATTRIBUTES = [
    (torch.sum, (X, 1), {}, {"dim": 1}),
    (torch.Tensor.sum, (X,), {"dim": (1, 2), "keepdim": True}, {"dim": (1, 2), "keepdim": True}),
    (torch.mean, (X, [1, 2]), {}, {"dim": (1, 2)}),
    (torch.Tensor.max, (X, 1), {}, {"dim": 1}),
    (torch.max, (X,), {"dim": 1}, {"dim": 1}),
    (torch.argmax, (X, -1), {}, {"dim": -1}),
    (torch.softmax, (X, -1), {}, {"dim": -1}),
    (F.softmax, (X,), {"dim": -1}, {"dim": -1}),
    (F.log_softmax, (X, 1), {}, {"dim": 1}),
    (torch.cumsum, (X, 0), {}, {"dim": 0}),
    (torch.var, (X, 1), {}, {"dim": 1}),
    (torch.logsumexp, (X, 1), {}, {"dim": 1}),
    (torch.topk, (X, 2), {}, {"k": 2}),
    (torch.sort, (X,), {"descending": True}, {"descending": True}),
    (torch.Tensor.norm, (X,), {}, {}),
    (torch.linalg.vector_norm, (X, 1), {}, {"ord": 1}),
    (F.conv2d, (X, W, None, 1, 1), {}, {"stride": 1, "padding": 1}),
    (F.conv2d, (X, W, None, (2, 2), (1, 1), (1, 1), 1), {}, {"stride": (2, 2), "padding": (1, 1)}),
    (F.max_pool2d, (X, 2), {}, {"kernel_size": 2}),
    (F.max_pool2d, (X, 3, 2, 1, 1), {"ceil_mode": False, "return_indices": False},
     {"kernel_size": 3, "stride": 2, "padding": 1}),
    (F.avg_pool2d, (X, 2, 2), {}, {"kernel_size": 2, "stride": 2}),
    (F.adaptive_avg_pool2d, (X, (1, 1)), {}, {"output_size": (1, 1)}),
    (F.interpolate, (X,), {"scale_factor": 2, "mode": "nearest"}, {"scale_factor": 2}),
    (F.pad, (X, (1, 1)), {}, {"pad": (1, 1)}),
    (F.dropout, (X, 0.1, True, False), {}, {"p": 0.1}),
    (F.dropout, (X,), {"p": 0.5, "training": False}, {"training": False}),
    (F.layer_norm, (X, (4,), None, None, 1e-5), {}, {"shape": (4,)}),
    (F.batch_norm, (X, X, X, X, X, True, 0.1, 1e-5), {}, {"training": True}),
    (F.relu, (X,), {"inplace": False}, {}),
    (F.gelu, (X,), {"approximate": "none"}, {}),
    (F.gelu, (X,), {"approximate": "tanh"}, {"approximate": "tanh"}),
    (F.cross_entropy, (X, X), {"label_smoothing": 0.1}, {"label_smoothing": 0.1}),
    (F.mse_loss, (X, X), {"reduction": "mean"}, {}),
    (F.mse_loss, (X, X), {"reduction": "sum"}, {"reduction": "sum"}),
    (F.embedding, (X, W), {"padding_idx": 0}, {"padding_idx": 0}),
    (F.normalize, (X,), {"dim": 2}, {"dim": 2}),
    (F.one_hot, (X, 5), {}, {"num_classes": 5}),
    (torch.Tensor.view, (X, 2, -1), {}, {"shape": (2, -1)}),
    (torch.Tensor.view, (X, (2, -1)), {}, {"shape": (2, -1)}),
    (torch.Tensor.view, (X, -1), {}, {"shape": -1}),
    (torch.Tensor.reshape, (X, 6, 16), {}, {"shape": (6, 16)}),
    (torch.reshape, (X, (6, 16)), {}, {"shape": (6, 16)}),
    (torch.Tensor.permute, (X, 0, 2, 3, 1), {}, {"dims": (0, 2, 3, 1)}),
    (torch.permute, (X, (0, 2, 3, 1)), {}, {"dims": (0, 2, 3, 1)}),
    (torch.Tensor.transpose, (X, 1, 2), {}, {"dim0": 1, "dim1": 2}),
    (torch.flatten, (X, 1), {}, {"start_dim": 1}),
    (torch.Tensor.flatten, (X, 1, 2), {}, {"start_dim": 1, "end_dim": 2}),
    (torch.unsqueeze, (X, 0), {}, {"dim": 0}),
    (torch.Tensor.squeeze, (X, 0), {}, {"dim": 0}),
    (torch.Tensor.expand, (X, 2, -1, -1, -1), {}, {"sizes": (2, -1, -1, -1)}),
    (torch.Tensor.repeat, (X, 2, 1, 1, 1), {}, {"repeats": (2, 1, 1, 1)}),
    (torch.Tensor.flip, (X, 0, 1), {}, {"dims": (0, 1)}),
    (torch.roll, (X, 1, 0), {}, {"shifts": 1, "dims": 0}),
    (torch.cat, ([X, X], 1), {}, {"dim": 1}),
    (torch.stack, ([X, X],), {"dim": 2}, {"dim": 2}),
    (torch.split, (X, 2), {}, {"sizes": 2}),
    (torch.chunk, (X, 3, -1), {}, {"chunks": 3, "dim": -1}),
    (torch.Tensor.unbind, (X, 1), {}, {"dim": 1}),
    (torch.Tensor.narrow, (X, 0, 1, 1), {}, {"dim": 0, "start": 1, "length": 1}),
    (torch.Tensor.__getitem__, (X, (slice(None), 0)), {}, {"index": (slice(None), 0)}),
    (torch.Tensor.__getitem__, (X, 0), {}, {"index": 0}),
    (torch.Tensor.__getitem__, (X, (slice(None), X)), {}, {"index": (slice(None), "operand")}),
    (torch.Tensor.__getitem__, (X, None), {}, {"index": None}),
    (torch.Tensor.__setitem__, (X, 0, 2.0), {}, {"index": 0, "value": 2.0}),
    (torch.Tensor.to, (X, torch.float32), {}, {"dtype": torch.float32}),
    (torch.Tensor.__mul__, (X, 2), {}, {"other": 2}),
    (torch.Tensor.__rsub__, (X, 2), {}, {"other": 2}),
    (torch.Tensor.pow, (X, 2), {}, {"exponent": 2}),
    (torch.clamp, (X, 0, 1), {}, {"min": 0, "max": 1}),
    (torch.add, (X, X), {"alpha": 2}, {"alpha": 2}),
    (torch.tril, (X, 1), {}, {"diagonal": 1}),
    (torch.masked_fill, (X, X, -1.0), {}, {"value": -1.0}),
    (torch.gather, (X, 1, X), {}, {"dim": 1}),
    (torch.index_select, (X, 1, X), {}, {"dim": 1}),
    (torch.einsum, ("ij,jk->ik", X, X), {}, {"equation": "ij,jk->ik"}),
    (torch.Tensor.T.__get__, (X,), {}, {}),
    (torch.ops.aten.native_batch_norm.default, (X, X, X, X, X, True, 0.1, 1e-5), {},
     {"training": True, "momentum": 0.1, "eps": 1e-5}),
    (torch.ops.aten.select.int, (X, 0, 1), {}, {"dim": 0, "index": 1}),
    (F.scaled_dot_product_attention, (X, X, X), {"is_causal": True}, {"is_causal": True}),
]  # fmt: skip


@pytest.mark.parametrize(("func", "args", "kwargs", "wanted"), ATTRIBUTES)
def test_attributes_have_the_names_of_the_arguments(func, args, kwargs, wanted):
    call, _ = call_of(func, *args, **kwargs)
    assert {name: tuple(v) if isinstance(v, list) else v for name, v in attributes(call).items()} == wanted


def look(func, *args, **kwargs):
    return look_at(call_of(func, *args, **kwargs)[0])


def test_formulas_of_what_is_no_elementwise_op():
    assert look(F.linear, X, W, X) == ("linear", ("{1}", "{0}", "1"))
    assert look(F.linear, X, W) == ("linear", ("{1}", "{0}"))
    assert look(torch.matmul, X, W) == ("@", ("{1}ᵀ", "{0}ᵀ"))
    assert look(torch.addmm, X, X, X) == ("addmm", ("1", "{2}ᵀ", "{1}ᵀ"))
    assert look(torch.cat, [X, X, X]) == ("concatenate", ("1", "1", "1"))
    assert look(F.conv2d, X, W, X, 1, 1)[1] == ("fold(g·{1})", "g·windows({0})", "1")
    assert look(F.batch_norm, X, X, X, X, X, True)[1] == ("", "", "", "standardized({0})", "1")
    assert look(F.batch_norm, X, None, None, X, X, True)[1] == ("", "standardized({0})", "1")
    assert look(F.layer_norm, X, (4,), weight=X, bias=X)[1] == ("", "standardized({0})", "1")
    assert look(torch.Tensor.__setitem__, X, 0, X)[1] == ("0 at the index, else 1", "1 at the index")
    assert look(torch.max, X, X) == ("max", ("[{0} > {1}]", "[{1} > {0}]"))


def test_a_loss_is_divided_by_n_only_where_it_is_a_mean():
    assert look(F.mse_loss, X, X)[1][0] == "2*({0} - {1})/n"
    assert look(F.mse_loss, X, X, reduction="sum")[1][0] == "2*({0} - {1})"
    assert look(F.huber_loss, X, X, delta=0.5)[1][0] == "clip({0} - {1}, ±0.5)/n"
    assert look(F.cross_entropy, X, X)[1][0] == "(softmax({0}) - onehot({1}))/n"


def test_there_is_no_formula_where_an_argument_makes_it_another_one():
    assert look(F.cross_entropy, X, X, X)[1] == ()
    assert look(F.cross_entropy, X, X, label_smoothing=0.1)[1] == ()
    assert look(F.gelu, X, approximate="tanh")[1] == ()
    assert look(torch.addmm, X, X, X, beta=2)[1] == ()
    assert look(torch.linalg.vector_norm, X, 1)[1] == ()


def test_names_are_those_people_write():
    named = {
        torch.Tensor.__add__: "add", torch.Tensor.__iadd__: "add_", torch.Tensor.__rmul__: "mul",
        torch.Tensor.__truediv__: "div", torch.Tensor.__matmul__: "matmul", torch.Tensor.__getitem__: "getitem",
        torch.Tensor.mT.__get__: "mT", torch.nn.functional.scaled_dot_product_attention: "scaled_dot_product_attention",
        torch.Tensor.__mod__: "remainder", torch.Tensor.__neg__: "neg", torch.ops.aten.relu_.default: "relu_",
    }  # fmt: skip
    for func, name in named.items():
        assert name_of(func)[0] == name
