"""What a user of PyTorch, NumPy, autograd or micrograd tries first, by public names only."""

import asyncio
import copy
import pickle
import threading

import numpy as np
import pytest

import gradviz
from gradviz import Tensor, TensorValue, constant, no_grad, scope
from gradviz.errors import (
    GradvizError,
    GradvizTypeError,
    GradvizValueError,
    NonScalarError,
    ShapeError,
    StaleValueError,
)

# -- attributes and constructors ---------------------------------------------------------------


def test_every_attribute_the_design_names():
    w = Tensor([[1.0, 2.0, 3.0]], name="w")
    y = w * 2
    assert (w.name, w.op, w.inputs, w.is_leaf, w.requires_grad) == ("w", "param", (), True, True)
    assert (w.shape, w.dtype, w.ndim, w.size, w.T.shape) == ((1, 3), np.float64, 2, 3, (3, 1))
    assert w.grad is None
    assert (y.name, y.op, y.is_leaf, y.requires_grad) == (None, "mul", False, True)
    assert y.inputs[0] is w
    assert y.inputs[1].item() == 2.0
    assert y.source.text == "w * 2"
    assert y.scope == ()
    assert not y.detach().requires_grad
    y.backward(grad=np.ones((1, 3)), create_graph=False)
    assert np.array_equal(w.grad, [[2.0, 2.0, 2.0]])
    w.zero_grad()
    assert w.grad is None


@pytest.mark.parametrize(
    ("given", "dtype", "shape"),
    [
        (3, np.float64, ()),
        (3.0, np.float64, ()),
        (True, np.float64, ()),
        (np.int64(3), np.float64, ()),
        (np.uint8(3), np.float64, ()),
        (np.bool_(True), np.float64, ()),
        (np.array(3), np.float64, ()),
        (np.float64(3), np.float64, ()),
        (np.float32(3), np.float32, ()),
        (np.float16(3), np.float16, ()),
        (np.array(3, np.float32), np.float32, ()),
        ([1, 2], np.float64, (2,)),
        (((1, 2), (3, 4)), np.float64, (2, 2)),
        ([np.float32(1), np.float32(2)], np.float32, (2,)),
        (np.ones((2, 3), np.float32), np.float32, (2, 3)),
        (np.ones(2, ">f8"), np.float64, (2,)),
        ([], np.float64, (0,)),
        (np.ones((0, 3)), np.float64, (0, 3)),
        (range(3), np.float64, (3,)),
        (Tensor([1.0, 2.0]), np.float64, (2,)),
    ],
    ids=repr,
)
def test_what_a_tensor_is_made_of(given, dtype, shape):
    w = Tensor(given)
    assert (w.dtype, w.shape, w.requires_grad, w.is_leaf) == (dtype, shape, True, True)
    (w * w).sum().backward()
    assert np.shape(w.grad) == shape
    assert np.asarray(w.grad).dtype == dtype
    assert np.array_equal(w.grad, 2 * w.numpy())


def test_single_whole_numbers_stay_whole_without_a_gradient():
    assert Tensor(np.int64(3), requires_grad=False).dtype == np.int64
    with pytest.raises(GradvizTypeError, match="int64 cannot require a gradient"):
        Tensor(np.array([3]))


def test_a_list_of_tensors_is_told_to_be_stacked():
    with pytest.raises(GradvizTypeError, match=r"np\.stack"):
        Tensor([Tensor(1.0), Tensor(2.0)])


def test_a_pytorch_tensor_that_wants_a_gradient_is_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(GradvizTypeError, match="operand of mul"):
        Tensor([1.0]) * torch.ones(1, requires_grad=True)
    assert Tensor(torch.ones(2)).shape == (2,)


def test_requires_grad_can_be_assigned():
    w = Tensor(2.0)
    w.requires_grad = False
    assert not (w * 3).requires_grad
    w.requires_grad = True
    (w * 3).backward()
    assert w.grad == 3.0
    with pytest.raises(GradvizTypeError, match="not a leaf"):
        (w * 3).requires_grad = False


# -- operators ---------------------------------------------------------------------------------

OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
}
OTHERS = [3, 3.0, np.float64(3), np.float32(3), np.int64(3), np.array(3.0), np.array([1.5, 3.0]), [1.5, 3.0]]


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("other", OTHERS, ids=lambda x: f"{type(x).__name__}{np.shape(x)}")
@pytest.mark.parametrize("own", [2.0, [2.0, 0.5]], ids=["scalar", "array"])
def test_operators_both_ways_round(symbol, other, own):
    f = OPERATORS[symbol]
    plain = np.array(own)
    for g in (f, lambda a, b: f(b, a)):
        x = Tensor(own)
        y = g(x, other)
        assert isinstance(y, Tensor)
        assert np.allclose(y.numpy(), g(plain, np.asarray(other)))
        y.sum().backward()
        step = 1e-6
        slope = (g(plain + step, np.asarray(other)) - g(plain - step, np.asarray(other))) / (2 * step)
        if not plain.ndim:
            slope = slope.sum()
        assert np.allclose(x.grad, slope, rtol=1e-6)


@pytest.mark.parametrize("make", [np.float32, lambda x: np.full(2, x, np.float32)], ids=["0-d", "1-d"])
@pytest.mark.parametrize("symbol", OPERATORS)
def test_python_numbers_leave_float32_as_it_is(make, symbol):
    f = OPERATORS[symbol]
    for g in (lambda x: f(x, 2), lambda x: f(2, x), lambda x: f(2.5, x), lambda x: f(x, Tensor(2.0))):
        x = Tensor(make(3.0))
        y = g(x)
        y.sum().backward()
        assert (y.dtype, x.grad.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize(
    ("f", "x", "value", "slope"),
    [
        (lambda x: 2**x, 3.0, 8.0, 8 * np.log(2)),
        (lambda x: x**x, 2.0, 4.0, 4 * (1 + np.log(2))),
        (lambda x: x**0, 0.0, 1.0, 0.0),
        (lambda x: x**0.0, 0.0, 1.0, 0.0),
        (lambda x: x**1, 0.0, 0.0, 1.0),
        (lambda x: 0**x, 2.0, 0.0, 0.0),
        (lambda x: 0.0**x, 0.0, 1.0, 0.0),
        (lambda x: x**2, 0.0, 0.0, 0.0),
        (abs, 0.0, 0.0, 0.0),
        (gradviz.relu, 0.0, 0.0, 0.0),
        (lambda x: np.maximum(x, 0), 0.0, 0.0, 0.5),
        (lambda x: x % 3, 7.0, 1.0, 1.0),
        (lambda x: x // 3, 7.0, 2.0, 0.0),
        (np.linalg.norm, 0.0, 0.0, 0.0),
        (np.sum, 5.0, 5.0, 1.0),
        (lambda x: x.sum(axis=0), 5.0, 5.0, 1.0),
        (lambda x: x.mean(axis=-1), 5.0, 5.0, 1.0),
        (lambda x: np.prod(np.stack([x, x * 0, x])), 2.0, 0.0, 0.0),
    ],
)
def test_corners_of_scalars(f, x, value, slope):
    for make in (float, np.float32):
        t = Tensor(make(x))
        y = f(t)
        y.backward()
        assert y.item() == pytest.approx(value)
        assert float(t.grad) == pytest.approx(slope, rel=1e-6)


def test_a_root_at_zero_has_an_infinite_slope():
    x = Tensor(0.0)
    with np.errstate(divide="ignore"):
        (x**0.5).backward()
    assert x.grad == np.inf


def test_comparisons_answer_in_plain_booleans():
    v = Tensor([1.0, 2.0])
    assert np.array_equal(v > 1, [False, True])
    assert isinstance(v > 1, np.ndarray)
    assert np.array_equal(np.float64(1.5) < v, [False, True])
    assert np.array_equal(v == Tensor([1.0, 3.0]), [True, False])
    assert Tensor(1.0) == 1
    assert Tensor(1.0) == pytest.approx(1.0)
    assert v == pytest.approx([1.0, 2.0])
    assert v != pytest.approx([1.0, 2.5])
    assert Tensor(1.0) != "one"
    assert not Tensor(1.0) == "one"  # noqa: SIM201 - both operators
    assert v in [Tensor(3.0) * 1, v][1:]
    with pytest.raises(TypeError):
        Tensor(1.0) < "one"  # noqa: B015
    for compare in (lambda: v < Tensor([1.0, 2.0, 3.0]), lambda: v == np.ones(3), lambda: np.ones(3) >= v):
        with pytest.raises(ShapeError, match=r"\(2,\).*\(3,\)|\(3,\).*\(2,\)"):
            compare()


def test_an_array_is_neither_true_nor_false():
    with pytest.raises(GradvizValueError, match=r"neither true nor false"):
        bool(Tensor([1.0, 2.0]))
    assert Tensor([2.0])
    assert not Tensor(0.0)


def test_augmented_assignment_rebinds():
    w = first = Tensor([1.0, 2.0])
    w += 1
    w *= 2
    w -= 1
    w /= 2
    w **= 2
    assert w is not first
    assert np.array_equal(first.numpy(), [1.0, 2.0])
    w.sum().backward()
    assert np.allclose(first.grad, 2 * (first.numpy() + 0.5))


def test_iteration_unpacking_and_sum():
    v = Tensor([1.0, 2.0, 3.0])
    a, b, c = v
    (a * b * c + sum(v) + sum(x * x for x in v)).backward()
    assert np.array_equal(v.grad, [6 + 1 + 2, 3 + 1 + 4, 2 + 1 + 6])
    assert [x.item() for x in reversed(v)] == [3.0, 2.0, 1.0]
    assert len(v) == 3
    assert max(v).item() == 3.0


def test_masked_arrays_are_refused_on_either_side():
    mask = np.ma.masked_array([1.0, 2.0], [True, False])
    for w in (Tensor([1.0, 2.0]), Tensor([1.0, 2.0]) * 2, constant([1.0, 2.0]), Tensor(2.0)):
        for f in (*OPERATORS.values(), lambda a, b: a @ b, np.ma.multiply, np.ma.add):
            for a, b in ((mask, w), (w, mask)):
                with pytest.raises(GradvizTypeError):
                    f(a, b)
        with pytest.raises(GradvizTypeError):
            mask *= w


# -- what was handed in or out -----------------------------------------------------------------

VIEWS = {
    "reshape": lambda a: a.reshape(4),
    "transpose": lambda a: a.T,
    "slice": lambda a: a[:, ::-1],
    "view of a view": lambda a: a.reshape(4)[::2],
    "memoryview": lambda a: np.asarray(memoryview(a)),
    "flat": lambda a: a.ravel(),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_write_through_a_view_taken_earlier_is_seen_at_the_next_use(view):
    w = Tensor(np.ones((2, 2)))
    alias = view(w.data)
    for _ in range(3):
        (w * w + np.sin(w)).sum().backward()
        w.zero_grad()
        alias -= 0.25
    now = w.numpy()
    assert now.min() == 0.25
    (w * w).sum().backward()
    assert np.array_equal(w.grad, 2 * now)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("role", ["parameter", "constant"])
def test_a_write_through_a_view_before_backward_is_refused(view, create_graph, role):
    w = Tensor(np.ones((2, 2)))
    x = w if role == "parameter" else constant(np.ones((2, 2)))
    alias = view(x.data)
    loss = (w * x * 3).sum()
    alias[...] = 5.0
    with pytest.raises(StaleValueError):
        loss.backward(create_graph=create_graph)
    assert w.grad is None
    (w * x).sum().backward()
    assert np.array_equal(w.grad, (2 if x is w else 1) * x.numpy())


def test_a_leaf_that_nobody_holds_a_view_of_owns_its_array_again():
    w = Tensor(np.ones(3))
    alias = w.data[:1]
    (w * w).sum().backward()
    del alias
    (w * w).sum().backward()
    w.data -= w.grad
    assert np.array_equal(w.numpy(), [-3.0, -3.0, -3.0])
    assert np.array_equal(gradviz.frame((w * 1).sum()).value("w"), [-3.0, -3.0, -3.0])


def test_views_and_optimizers():
    w = Tensor(np.ones((2, 2)))
    alias = w.data.reshape(4)
    sgd = gradviz.optim.SGD([w], lr=0.5)
    (w * w).sum().backward()
    sgd.step()
    assert np.array_equal(w.numpy(), np.zeros((2, 2)))
    assert np.array_equal(alias, np.ones(4))


def test_minus_zero_is_another_value_than_zero():
    w = Tensor([0.0])
    w.data[0] = -0.0
    with np.errstate(divide="ignore"):
        assert (1 / w).item() == -np.inf
    loss = (w * w).sum()
    w.data[0] = 0.0
    with pytest.raises(StaleValueError):
        loss.backward()


def test_nan_that_stays_nan_is_no_change():
    w = Tensor([np.nan, 1.0])
    loss = (w * w).sum()
    assert np.isnan(w.data[0])
    loss.backward()
    assert np.isnan(w.grad[0])


MADE = [
    lambda a, b: a * b,
    lambda a, b: a @ b,
    lambda a, b: a * b + np.sin(a),
    lambda a, b: np.concatenate([a, b]) * 2,
]
TAKEN = [lambda a: a, lambda a: a.T, lambda a: a.reshape(4), lambda a: a[0], lambda a: a[:, :1]]


def right_or_refused(made, a, b, before, create_graph):
    """Compare gradients with those at the values that were there when the graph was recorded."""
    try:
        before[2].sum().backward(create_graph=create_graph)
    except StaleValueError:
        return
    one = Tensor(before[0])
    two = one if a is b else Tensor(before[1])
    made(one, two).sum().backward()
    for leaf, twin in ((a, one), (b, two)):
        if leaf.requires_grad:
            found = leaf.grad.numpy() if isinstance(leaf.grad, Tensor) else leaf.grad
            assert np.allclose(found, twin.grad)


@pytest.mark.parametrize("seed", range(60))
def test_writes_and_uses_in_any_order_are_right_or_refused(seed):
    rng = np.random.default_rng(seed)
    leaves = [Tensor(np.ones((2, 2)) * k, requires_grad=k < 3) for k in (1, 2, 3)]
    aliases, graphs = [], []
    for _ in range(40):
        act, leaf, other = rng.integers(7), leaves[rng.integers(3)], leaves[rng.integers(3)]
        if act == 0:
            aliases.append(TAKEN[rng.integers(5)](leaf.data))
        elif act == 1 and aliases:
            alias = aliases[rng.integers(len(aliases))]
            if alias.flags.writeable:
                alias += rng.normal()
        elif act == 2:
            aliases = aliases[1:]
        elif act == 3:
            leaf.data -= 0.125
        elif act == 4:
            made, before = MADE[rng.integers(4)], (leaf.numpy(), other.numpy())
            y = made(leaf, other)
            assert np.array_equal(y.numpy(), made(*before))
            graphs += [(made, leaf, other, (*before, y))] if y.requires_grad else []
        elif graphs:
            for x in leaves:
                x.zero_grad()
            right_or_refused(*graphs[rng.integers(len(graphs))] if act == 5 else graphs[-1], create_graph=act == 6)


# -- derivatives -------------------------------------------------------------------------------


def rosenbrock(v):
    return (1 - v[0]) ** 2 + 100 * (v[1] - v[0] ** 2) ** 2


def test_derivatives_of_derivatives():
    assert gradviz.grad(gradviz.grad(gradviz.grad(lambda x: x**4)))(2.0) == 48.0
    assert gradviz.grad(gradviz.grad(np.tanh))(1.0) == pytest.approx(-2 * np.tanh(1) / np.cosh(1) ** 2)
    at = np.array([1.0, 1.0])
    exact = [[802.0, -400.0], [-400.0, 200.0]]
    assert np.allclose(gradviz.hessian(rosenbrock)(at), exact)
    assert np.allclose(gradviz.jacobian(gradviz.grad(rosenbrock))(at), exact)
    x = Tensor(3.0)
    (x**3).backward(create_graph=True)
    slope = x.grad
    x.zero_grad()
    slope.backward()
    assert x.grad == 18.0


@pytest.mark.parametrize(
    ("f", "x", "shape"),
    [
        (lambda x: np.outer(x, x), np.ones(3), (3, 3, 3)),
        (lambda x: x * np.ones(4), 2.0, (4,)),
        (lambda x: x.sum(), np.ones((2, 3)), (2, 3)),
        (lambda x: x @ np.ones((3, 5)), np.ones((2, 3)), (2, 5, 2, 3)),
        (lambda x: x[:0], np.ones(3), (0, 3)),
        (lambda x: x**2, 3.0, ()),
    ],
)
def test_jacobian_shapes(f, x, shape):
    assert np.shape(gradviz.jacobian(f)(x)) == shape


def test_numerical_grad_of_whole_numbers():
    for x in (np.array([1, 2]), constant(np.array([1, 2])), [1, 2]):
        assert np.allclose(gradviz.numerical_grad(lambda x: x[0] ** 2 + x[1] ** 2, x), [2.0, 4.0])
    assert gradviz.numerical_grad(lambda x: x**2, np.int64(3)) == pytest.approx(6.0)


def test_a_hessian_by_a_list_of_numbers_says_what_to_give():
    with pytest.raises(GradvizTypeError, match="one array instead of a list"):
        gradviz.hessian(rosenbrock)([1.0, 1.0])


def test_a_report_of_three_ways():
    def loss(w, b):
        return ((w * 2 + b - 1) ** 2).sum()

    by_hand = {"w": lambda w, b: 4 * (w * 2 + b - 1), "b": lambda w, b: (2 * (w * 2 + b - 1)).sum()}
    report = gradviz.gradcheck(loss, {"w": np.ones(2), "b": 0.5}, formula=by_hand)
    assert report
    assert report.ok
    text = str(report)
    for word in ("autograd", "finite differences", "by hand", "mul", "pow", "w[0]", "b"):
        assert word in text
    wrong = gradviz.gradcheck(loss, {"w": np.ones(2), "b": 0.5}, formula={**by_hand, "w": lambda w, b: w})
    assert not wrong
    assert "WRONG" in str(wrong)
    with pytest.raises(GradvizError):
        wrong.raise_if_wrong()


def test_a_wrong_rule_is_named_with_its_line():
    @gradviz.register_op(lambda g, y, x: g * 2 * x, name="acceptance_cube")
    def cube(x):
        return x**3

    report = gradviz.gradcheck(lambda x: cube(x * 2).sum(), np.ones(2))
    assert not report.ok
    wrong = [row for row in report.wrong if "acceptance_cube" in str(row)]
    assert len(wrong) == 1
    assert "cube(x * 2)" in str(report)
    assert "test_acceptance_engine.py" in str(report)


def test_a_decorator_without_its_rules_says_so():
    @gradviz.register_op
    def double(x):
        return 2 * x

    with pytest.raises(GradvizTypeError, match="vjp for each operand"):
        double(Tensor(3.0))
    with pytest.raises(GradvizTypeError, match="one list"):
        gradviz.nn.MLP(2, [3, 1])


def test_a_check_of_nothing_is_no_success():
    with pytest.raises(GradvizTypeError, match="nothing to differentiate by"):
        gradviz.gradcheck(lambda x: (x * x).sum(), np.array([1, 2]))


# -- errors ------------------------------------------------------------------------------------


def test_errors_are_the_built_in_ones_people_expect():
    v = Tensor([1.0, 2.0], name="v")
    cases = [
        (v.backward, NonScalarError, ValueError, "not a scalar"),
        (lambda: v.backward([1.0, 2.0, 3.0]), ShapeError, ValueError, r"\(3,\).*\(2,\)"),
        (lambda: constant(1.0).backward(), GradvizTypeError, TypeError, "requires a gradient"),
        (lambda: v @ np.ones(3), ShapeError, ValueError, r"v of shape \(2,\).*\(3,\)"),
        (lambda: v[5], GradvizError, IndexError, "out of bounds"),
        (lambda: v + None, GradvizTypeError, TypeError, "operand of add"),
        (lambda: v * 1j, GradvizTypeError, TypeError, "complex"),
        (lambda: np.unwrap(v), GradvizTypeError, TypeError, "unwrap"),
        (lambda: np.asarray(v), GradvizTypeError, TypeError, "lose its gradient"),
        (v.item, GradvizValueError, ValueError, "2 elements"),
        (lambda: np.sum([v, v]), GradvizTypeError, TypeError, "np.stack"),
        (lambda: v.__setitem__(0, 1), GradvizTypeError, TypeError, "in place"),
    ]
    for call, ours, builtin, words in cases:
        with pytest.raises(ours, match=words) as caught:
            call()
        assert isinstance(caught.value, builtin)
        assert isinstance(caught.value, GradvizError)
        assert "test_acceptance_engine.py:" in str(caught.value)


# -- names, scopes, threads, copies ------------------------------------------------------------


def texts():
    a, b = Tensor(2.0, name="a"), Tensor([1.0, 2.0], name="b")
    model = Holder()

    def decorated(x):
        return np.sin(x) * x

    continued = a * b + \
        a  # fmt: skip
    yield continued, "a * b + a"
    double = [lambda q: q * 2 + 1]
    yield double[0](a), "q * 2 + 1"
    yield [i * a for i in (1, 2)][0], "i * a"  # noqa: RUF015 - the comprehension is the point
    yield scope("s")(decorated)(a), "np.sin(x) * x"
    yield f"{(inner := a * 3)}" and inner, "a * 3"
    yield model.weight * b[0], "model.weight * b[0]"
    yield np.sum(b, axis=0), "np.sum(b, axis=0)"
    yield b.sum(), "b.sum()"
    yield -a, "-a"
    yield np.float64(2) * a, "np.float64(2) * a"
    yield (a + 1) ** 2 if True else a, "(a + 1) ** 2"
    yield b.T, "b.T"
    yield {"äöü": a}["äöü"] * 4, '{"äöü": a}["äöü"] * 4'
    total = a
    total += 1
    yield total, "total += 1"
    yield np.where(b > 1, b, 0), "np.where(b > 1, b, 0)"


def test_source_text_of_many_kinds_of_expressions():
    for y, text in texts():
        assert y.source.text == text
        assert y.source.file.endswith("test_acceptance_engine.py")
        assert "texts" in y.source.function


class Holder:
    def __init__(self):
        self.weight = Tensor(2.0)


def names_of(y, **params):
    return {node.name for node in gradviz.graph(y, params=params or None).nodes if node.kind != "op"}


def test_names_are_found_by_themselves():
    a, b = Tensor(1.0), Tensor(2.0)
    model, table, row = Holder(), {"k": Tensor(3.0)}, [Tensor(4.0)]
    y = a * b + model.weight * table["k"] + row[0]
    found = names_of(y)
    assert {"a", "b"} <= found
    assert any("weight" in name for name in found)
    assert len(found) == 5
    assert {"first", "b"} <= names_of(y, first=a)
    same = a
    assert len(names_of(a * same)) == 1


def test_names_of_what_lists_in_objects_and_dicts_in_dicts_hold():
    model = Holder()
    model.layers = [Tensor(1.0), Tensor(2.0)]
    layers = {"first": {"w": Tensor(3.0)}, "second": {"w": Tensor(4.0)}}
    rows = [[Tensor(5.0)], [Tensor(6.0)]]
    y = model.layers[1] * layers["first"]["w"] + layers["second"]["w"] * rows[1][0]
    assert names_of(y) == {"model.layers[1]", "first.w", "second.w", "rows[1][0]"}


def test_scopes_in_every_form():
    @scope("layer")
    def layer(x):
        return x * 2

    def parts(x):
        with scope("part"):
            yield x * 3
            yield x * 4

    async def job(name):
        with scope(name):
            await asyncio.sleep(0)
            return Tensor(1.0) * 2

    async def both():
        return await asyncio.gather(job("one"), job("two"))

    x = Tensor(1.0)
    with scope("net"):
        assert layer(x).scope == ("net", "layer")
    assert [y.scope for y in parts(x)] == [("part",), ("part",)]
    assert (x * 1).scope == ()
    assert [y.scope for y in asyncio.run(both())] == [("one",), ("two",)]


def test_no_grad_without_brackets():
    @no_grad
    def evaluate(x):
        return x * 2

    assert not evaluate(Tensor(1.0)).requires_grad
    assert evaluate.__name__ == "evaluate"
    with no_grad():
        assert not (Tensor(1.0) * 2).requires_grad


def test_descend_changes_the_tensors_it_is_given():
    for start in (0.0, 1.0, [0.0, 5.0], np.zeros((2, 2), np.float32)):
        w = Tensor(start)
        found = gradviz.descend(lambda w: ((w - 3) ** 2).sum(), {"w": w}, lr=0.5, steps=2)
        assert np.array_equal(w.numpy(), np.full(w.shape, 3.0))
        assert np.array_equal(found.params["w"], w.numpy())


def test_decorated_generators_and_coroutines_run_inside_and_leave_their_caller_alone():
    x = Tensor(1.0)

    @scope("batches")
    def batches():
        try:
            received = yield x * 2
            yield received
            yield x * 3
        except KeyError:
            yield x * 4
        finally:
            ends.append((x * 5).scope)
        return "end"

    @no_grad()
    async def evaluate():
        await asyncio.sleep(0)
        return x * 2

    ends = []
    stream = batches()
    assert next(stream).scope == ("batches",)
    assert (x * 1).scope == ()
    assert stream.send("sent") == "sent"
    assert stream.throw(KeyError()).scope == ("batches",)
    assert (x * 1).scope == ()
    with pytest.raises(StopIteration, match="end"):
        next(stream)
    stream = batches()
    next(stream)
    stream.close()
    assert ends == [("batches",), ("batches",)]
    assert not asyncio.run(evaluate()).requires_grad
    assert (x * 1).requires_grad


def test_modes_stay_in_their_thread():
    seen = {}

    def work():
        seen["inside"] = (Tensor(1.0) * 2).requires_grad

    with no_grad(), scope("main"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert not (Tensor(1.0) * 2).requires_grad
    assert seen["inside"]


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
@pytest.mark.parametrize("data", [2.0, [1.0, -0.0], np.float32(2), np.ones((2, 0), np.float16)], ids=repr)
def test_copies(twin, data):
    t = Tensor(data, name="t")
    other = twin(t)
    assert (other.name, other.dtype, other.shape, other.requires_grad) == ("t", t.dtype, t.shape, True)
    assert np.array_equal(np.signbit(other.numpy()), np.signbit(t.numpy()))
    assert type(twin(TensorValue(3))) is type(TensorValue(3))


def test_the_article_class():
    w, x = TensorValue(3), TensorValue(2)
    loss = 5 - x * w + 1 / x + 2**x
    loss.backward()
    assert loss.num == pytest.approx(5 - 6 + 0.5 + 4)
    assert w.grad == -2.0
    assert x.grad == pytest.approx(-3 - 0.25 + 4 * np.log(2))
    assert (w.leaf, loss.leaf, loss.ops) == (True, False, "+")
    assert loss.left is not None
    loss.flush_gradient()
    assert (loss.grad, w.grad) == (0.0, -2.0)
