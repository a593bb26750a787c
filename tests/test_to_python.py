"""`to_python`: source that runs by itself, gives the recorded numbers, and reads as a person would write it."""

import ast
import contextlib
import math
import random
import re

import numpy as np
import pytest

import gradviz
from gradviz import Tensor, to_python
from gradviz.engine.handwriting import NoWordsError
from gradviz.engine.registry import OPS, recording_function
from gradviz.errors import GradvizTypeError, GradvizValueError
from tests.hostile import HOSTILE

WITHOUT_WORDS = {
    *("astype", "avg_pool1d", "avg_pool2d", "bce_with_logits", "binary_cross_entropy", "cholesky", "conv1d", "conv2d"),
    *("copysign", "cross", "cumprod", "det", "diag", "diagonal", "dropout", "einsum", "erf", "fmax", "fmin", "fmod"),
    *("fold", "gelu", "hinge", "huber", "inner", "inv", "max_pool1d", "max_pool2d", "mish", "moveaxis", "nan_to_num"),
    *("nll", "norm", "pad", "pinv", "prod", "repeat", "roll", "rot90", "scatter", "selu", "sinc", "slogdet", "solve"),
    *("sort", "standardize", "tensordot", "tile", "trace", "tril", "triu", "unfold", "vdot"),
}


def run(source, function="value_and_grad", **given):
    """Run a listing where nothing but its own imports is known."""
    names = {}
    exec(compile(source, "listing.py", "exec"), names)
    imported = {a.name for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Import) for a in n.names}
    assert imported <= {"math", "numpy"}
    return names[function](**given)


def check(loss, params, rtol=1e-9, **given):
    """Compare a listing with the engine."""
    source = to_python(loss, params=params)
    value, grads = run(source, **given)
    for p in params.values():
        p.zero_grad()
    if loss.requires_grad:
        loss.backward(np.ones(loss.shape) if loss.shape else None)
    np.testing.assert_allclose(value, loss.data, rtol=rtol, atol=1e-12)
    for name, p in params.items():
        if name not in grads:  # not in the graph
            assert p.grad is None
            continue
        expected = np.zeros(p.shape) if p.grad is None else p.grad
        np.testing.assert_allclose(grads[name], expected, rtol=rtol, atol=1e-10)
        assert np.shape(grads[name]) == p.shape
    return source


def test_the_articles_line():
    w, b = Tensor(0.5), Tensor(0.1)
    x, y = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    pred = w * x + b
    error = pred - y
    loss = (error**2).mean()
    assert (
        check(loss, {"w": w, "b": b})
        == '''\
import numpy as np

x = np.array([1.0, 2.0])
y = np.array([3.0, 5.0])


def value_and_grad(w=0.5, b=0.1, x=x, y=y):
    """Return loss and its gradient by w, b."""
    # forward
    mul_1 = w * x                        # shape (2,)
    pred = mul_1 + b                     # shape (2,)
    error = pred - y                     # shape (2,)
    pow_1 = error ** 2                   # shape (2,)
    loss = np.mean(pow_1)

    # backward: d_x is the derivative of loss by x
    d_loss = 1.0
    d_pow_1 = np.full((2,), d_loss / 2)  # d(mean(pow_1))/dpow_1 = 1/2
    d_error = d_pow_1 * 2 * error        # d(error**2)/derror = 2*error
    d_pred = d_error                     # d(pred - y)/dpred = 1
    d_mul_1 = d_pred                     # d(mul_1 + b)/dmul_1 = 1
    d_b = np.sum(d_pred)                 # d(mul_1 + b)/db = 1
    d_w = np.sum(d_mul_1 * x)            # d(w * x)/dw = x
    return loss, {"w": d_w, "b": d_b}
'''
    )


def test_single_numbers_need_math_alone():
    a, b = Tensor(2.0), Tensor(-3.0)
    c = a * b
    d = np.tanh(c) + 10.0
    e = d / a
    source = check(e, {"a": a, "b": b})
    assert source.startswith("import math\n\n\ndef value_and_grad(a=2.0, b=-3.0):\n")
    assert "# d(a * b)/da = b" in source
    assert "d_a += d_c * b" in source


def test_options():
    a = Tensor(2.0)
    b = a * 3.0
    source = to_python(b, values=True, function="b_of_a")
    assert re.search(r"b = a \* 3 +# = 6\n", source)
    assert run(source, "b_of_a", a=4.0) == (12.0, {"a": 3.0})
    source = to_python(b, grads=False)
    assert run(source) == 6.0
    assert "backward" not in source
    for bad in ("", "two words", "lambda", "f()\nimport os", 3):
        with pytest.raises(GradvizValueError, match="no name of a function"):
            to_python(b, function=bad)


@pytest.mark.parametrize("name", sorted(name for name, op in OPS.items() if op.samples is not None))
def test_every_op(name):
    op = OPS[name]
    function = recording_function(op)
    written = 0
    for sample in op.samples(np.random.default_rng(0)):
        args = [Tensor(a) if np.asarray(a).dtype.kind == "f" else a for a in sample.args]
        params = {f"p{i}": a for i, a in enumerate(args) if isinstance(a, Tensor)}
        made = function(args, **sample.attrs) if op.variadic else function(*args, **sample.attrs)
        loss = (made * made * 0.5).sum() if made.shape else made * 1.5
        single = any(p.dtype == np.float32 for p in params.values())
        with contextlib.suppress(NoWordsError):
            check(loss, params, 1e-5 if single else 1e-8)
            written += 1
    assert bool(written) != (name in WITHOUT_WORDS)


UNARY = [
    np.sin,
    np.tanh,
    lambda x: x * x,
    lambda x: -x,
    lambda x: x.relu(),
    lambda x: x.sigmoid(),
    lambda x: x**3,
    np.abs,
]
BINARY = [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / (b * b + 1.0)]
SHAPES = [(), (3,), (2, 3), (2, 1), (1, 3)]


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed):
    rng, draw = random.Random(seed), np.random.default_rng(seed)
    shapes = [rng.choice(SHAPES) for _ in range(3)] if seed % 2 else [()] * 3
    params = {name: Tensor(draw.normal(size=shape)) for name, shape in zip("uvw", shapes, strict=True)}
    values = list(params.values())
    for _ in range(12):
        a, b = rng.choice(values), rng.choice(values)
        values.append(rng.choice(UNARY)(np.tanh(a)) if rng.random() < 0.5 else rng.choice(BINARY)(a, b))
    check((values[-1] + values[-2] * values[-3]).sum(), params)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(name):
    a, b = Tensor(2.0, name=name), Tensor(3.0, name=name)
    c = a * b
    c.name = name
    source = to_python(c)
    value, grads = run(source)
    assert value == 6.0
    assert list(grads.values()) == [3.0, 2.0]
    assert all(line.isprintable() for line in source.splitlines())


ODD_NAMES = [
    *("lambda", "np", "math", "value_and_grad", "print", "d_loss", "x; import os", "λ", "ﬁ", "__import__", "1"),
    *("a.b[0]", "scatter", "match", "y'\\\"", "None"),
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_that_mean_something_else(name):
    a, loss_of = Tensor(2.0, name=name), Tensor(3.0, name="d_loss")
    loss = np.exp(a) * loss_of * a
    value, grads = run(to_python(loss))
    assert math.isclose(value, loss.item())
    assert set(grads) >= {name} - {"d_loss"}


def test_large_arrays_are_arguments():
    w, x = Tensor(np.linspace(0.0, 1.0, 200)), np.linspace(1.0, 2.0, 200)
    loss = (w * x).sum()
    source = check(loss, {"w": w}, w=w.numpy(), x=x)
    assert "def value_and_grad(w, x):" in source
    small = Tensor(np.linspace(0.0, 1.0, 60).reshape(3, 20))
    source = check((small * 2.0).sum(), {"small": small})
    assert max(map(len, source.splitlines())) < 110


def test_dtypes_and_odd_arrays():
    single = np.array([1.5, 2.5], np.float32)
    for x in (np.array([1, 2]), np.array([True, False]), single, np.array([0.1, np.nan]), np.zeros((0, 3))):
        w = Tensor(2.0)
        loss = (w * x).sum()
        value, grads = run(to_python(loss))
        loss.backward()
        np.testing.assert_allclose([value, grads["w"]], [loss.item(), w.grad])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0, -2.0])
def test_numbers_out_of_the_domain(bad):
    with np.errstate(all="ignore"):
        w = Tensor(bad)
        loss = np.log(w) + 1.0 / w
        value, grads = run(to_python(loss))
        loss.backward()
        np.testing.assert_equal([value, grads["w"]], [loss.item(), w.grad])


def test_what_nothing_arrives_at():
    a, b = Tensor(2.0), Tensor([1.0, 2.0])
    loss = a * 2.0 + np.sign(b).sum()
    assert check(loss, {"a": a, "b": b}).count("nothing arrives here") == 1
    leaf = Tensor(3.0, name="leaf")
    assert run(to_python(leaf)) == (3.0, {"leaf": 1.0})


def test_an_array_result():
    w = Tensor([1.0, 2.0])
    check(w * w, {"w": w})


def test_a_network_and_a_chain():
    model = gradviz.nn.Sequential(gradviz.nn.Linear(2, 3), gradviz.nn.Tanh(), gradviz.nn.Linear(3, 1))
    x = np.ones((4, 2))
    loss = ((model(x) - x[:, :1]) ** 2).mean()
    source = check(loss, dict(model.named_parameters()))
    assert re.search(r"return loss, \{.*\"\w+(\.\w+)+\": d_", source)
    w = Tensor(0.5)
    y = w
    for _ in range(3000):
        y = y * 0.999 + w
    check(y, {"w": w})


def test_a_frame():
    w, x = Tensor(0.5), np.array([1.0, 2.0, 3.0])
    loss = ((w * x)[1:] ** 2).sum()
    frame = gradviz.frame(loss)
    value, grads = run(to_python(frame))
    loss.backward()
    assert math.isclose(value, loss.data)
    assert math.isclose(grads["w"], w.grad)
    with pytest.raises(GradvizTypeError, match="constants are known"):
        to_python(gradviz.graph(loss))


def test_what_has_no_words_says_so():
    w = Tensor(np.eye(2))
    with pytest.raises(GradvizValueError, match=r"no words for the op 'inv'[\s\S]*gradviz.compile"):
        to_python(np.linalg.inv(w).sum())
    with pytest.raises(GradvizTypeError):
        to_python(3.0)


def test_articles_class():
    a, b = gradviz.TensorValue(2.0), gradviz.TensorValue(3.0)
    c = (a * b - 1) ** 2
    value, grads = run(to_python(c))
    assert value == 25.0
    assert grads == {"a": 30.0, "b": 20.0}


def test_where_math_would_raise_numpy_goes_on():
    x = Tensor(-1000.0)
    y = x.sigmoid() * 2.0
    source = to_python(y)
    assert "x = np.float64(x)" in source
    with np.errstate(over="ignore"):
        assert run(source)[0] == 0.0


def test_a_file_of_python(tmp_path):
    w = Tensor(2.0)
    loss = (w * w).log()
    path = gradviz.draw(loss).save(tmp_path / "loss.py")
    assert run(path.read_text("utf-8")) == (math.log(4.0), {"w": 1.0})


def test_a_loss_of_pytorch_that_was_captured():
    torch = pytest.importorskip("torch")
    x = torch.linspace(0, 1, 5, dtype=torch.float64)
    w = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    with gradviz.capture() as cap:
        loss = ((torch.tanh(w * x) - x) ** 2).mean()
        loss.backward()
    value, grads = run(to_python(cap.frame()))
    assert math.isclose(value, loss.item())
    assert math.isclose(grads["w"], w.grad.item())
    with pytest.raises(GradvizTypeError, match="captured"):
        to_python(loss)


def test_an_op_that_means_something_else_is_noticed():
    torch = pytest.importorskip("torch")
    w = torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64, requires_grad=True)
    with gradviz.capture() as cap:
        loss = w.std()  # divides by n - 1
        loss.backward()
    with pytest.raises(GradvizValueError, match=r"no words|another meaning"):
        to_python(cap.frame())
