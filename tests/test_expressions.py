"""Expressions that a person types: they compute what Python does, and nothing else can be reached through them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradviz
from gradviz import Tensor
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.expressions import Expression, depth, parse, references
from gradviz.debugger.naming import attribute_of
from gradviz.debugger.sizes import LARGEST
from gradviz.errors import GradvizError, GradvizValueError, UnknownNameError
from gradviz.graphs import Frame, Graph, Node
from tests.runs import recorded


class Given:
    """Names with the values that a test gives them."""

    def __init__(self, **values):
        self.values = values

    def longest(self, parts):
        return next((n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in self.values), 0)

    def look_up(self, name, attribute, iteration):
        return attribute_of(self.values[name], attribute)


def worked_out(text, **values):
    return Expression(text)(Given(**values))


numbers = st.floats(-1e6, 1e6, allow_subnormal=False) | st.integers(-50, 50)
ARITHMETIC = ["+", "-", "*", "/", "//", "%", "**"]
texts = st.recursive(
    st.sampled_from(["a", "b", "c", "2", "0.5", "-1"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(ARITHMETIC), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        inner.map(lambda x: f"-{x}"),
        inner.map(lambda x: f"abs({x})"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} > {p[2]} else {p[2]})"),
    ),
    max_leaves=8,
)


def real_abs(x):
    if isinstance(x, complex):  # the root of a number below 0, which is NaN to us
        raise OverflowError
    return abs(x)


@given(texts, numbers, numbers, numbers)
def test_numbers_are_computed_as_python_does(text, a, b, c):
    try:
        wanted = eval(text, {"__builtins__": {}, "abs": real_abs}, {"a": a, "b": b, "c": c})
    except (ZeroDivisionError, OverflowError):
        return
    if isinstance(wanted, complex) or abs(wanted) > 1e300:
        return
    try:
        found = worked_out(text, a=a, b=b, c=c)
    except GradvizValueError as error:
        if "too large" in str(error) or "whole number of" in str(error):
            return
        raise
    assert type(found) is type(wanted)
    assert found == wanted or (math.isnan(found) and math.isnan(wanted))


@given(
    st.lists(numbers, min_size=2, max_size=4), st.lists(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), min_size=3)
)
def test_comparisons_are_chained_as_in_python(values, signs):
    names = "abcd"[: len(values)]
    text = names[0] + "".join(f" {sign} {name}" for sign, name in zip(signs, names[1:], strict=False))
    given_values = dict(zip(names, values, strict=True))
    assert worked_out(text, **given_values) == eval(text, {}, given_values)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1 / x", math.inf), ("-1 / x", -math.inf), ("x / x", math.nan), ("1 // x", math.inf), ("x ** -1", math.inf),
        ("1e308 * 10", math.inf), ("10.0 ** 400", math.inf), ("(x - 8) ** 0.5", math.nan), ("7 % x", math.nan),
        ("max(x, 3, 2)", 3), ("min(x, -3.0)", -3), ("max([1, 5, 2])", 5), ("norm([3, 4])", 5),
        ("round(2.567, 1)", 2.6), ("not x", True), ("not 1 > 2", True), ("x == 0 and 2 > 1", True),
        ("'log' in ('log', 'exp')", True), ("x in (0, 1)", True), ("x not in (0, 1)", False),
        ("np.sum([[1, 2], [3, 4]], axis=0)[1]", 6), ("np.pi", math.pi), ("(x + 1).ndim", 0),
        ("np.ones((2, 3)).T.shape", (3, 2)), ("np.arange(5)[1:3][-1]", 2), ("float('inf')", math.inf),
        ("np.array([1, 2]) @ np.array([3, 4])", 11), ("ratio([3, 4] / [1, 0])", 5), ("ratio([3, 4], [0, 1])", 5),
        ("ratio(x / x)", math.nan), ("ratio(1 / x)", math.inf), ("len([1, 2]) - 1", 1), ("~True & 1", 0),
        ("x is None", False),
    ],
)  # fmt: skip
def test_what_there_is(text, wanted):
    found = worked_out(text, x=0.0)
    assert found == wanted or (math.isnan(found) and math.isnan(wanted))


@pytest.mark.parametrize(
    "text", ["x + 1", "-x", "norm(x)", "np.exp(x)", "x[0]", "x.T", "ratio(x / 1)", "not x", "1 if x is None else 2"]
)
def test_what_is_not_there_is_none_and_so_is_what_is_made_of_it(text):
    assert worked_out(text, x=None) in ({1} if "if" in text else {None})
    assert worked_out(f"({text}) is None", x=None) is ("if" not in text)


@pytest.mark.parametrize(
    "text", ["x > 1", "x <= 1", "x == 0", "x != 0", "0 < x < 1", "norm(x) != 3", "not x", "x and 1"]
)
def test_nothing_holds_for_what_is_not_there(text):
    assert not Expression(text).holds(Given(x=None))


@pytest.mark.parametrize(
    "text",
    [
        "().__class__", "x.__class__", "x.real.__class__", "(1).__class__.__bases__", "''.join", "abs.__globals__",
        "__import__('os')", "open('/etc/passwd')", "eval('1')", "print(x)", "x.tofile('f')", "x.dump", "x.data",
        "x.base", "x.ctypes", "np.load('f')", "np.save('f', x)", "np.fromfile('f')", "np.lib.npyio", "np.os",
        "np.core", "np.__dict__", "np.linalg.norm.__globals__", "np.testing", "np.vectorize(abs)",
        "np.frompyfunc(abs, 1, 1)", "np.memmap('f')", "np.apply_along_axis(abs, 0, x)", "np.add.reduce(x)",
        "np.einsum('i,j', x, x)", "np.random.rand(3)", "lambda: 1", "(lambda: 1)()", "[i for i in x]",
        "{i for i in x}", "{1: 2}", "{1, 2}", "sum(i for i in x)", "f'{x}'", "f'{x.__class__}'", "(y := 1)", "await x",
        "yield x", "*x", "[*x]", "max(*x)", "max(**x)", "x; y", "x = 1", "x\ny", "import os", "np.add(x, 1, out=x)",
        "np.add(1, 2, signature='OO->O')", "np.array([1], like=x)", "np.array([abs])", "np.array([{}])",
        "np.array([None])", "np.array('a')", "np.array([10**20])", "np.zeros(3, 'O')",
        "np.zeros(3, dtype='S100000000')", "np.zeros(3, 'V9')", "x.astype('O')", "x()", "x.grad()", "np", "np.sum",
        "abs", "'a' + 'b'", "'a' * 10", "[1] * 10", "(1, 2) * 3", "'%1000000000d' % 3", "'a'[0]", "-'a'", "x << 3",
        "x @ 2.5", "", "   ", "\x00", "\ud800", "`", "``", "x x", "1 +", "(", "ǃzz", "\u01c3" + "ff", "9" * 1500,
        "int('9' * 2)",
    ],
)  # fmt: skip
def test_nothing_else_can_be_reached(text):
    """Neither by name nor by attribute, call or syntax; the answer is an error."""
    x = np.arange(3.0)
    with pytest.raises(GradvizError):
        worked_out(text, x=x)
    assert x.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "text",
    [
        "'a' * 10**9", "[0] * 10**9", "10**10**10", "2**5000", "(2**4000)**4000", "9**9**9**9", "-(7**9999)",
        "np.ones((10**6, 10**6))", "np.zeros(10**12)", "np.ones(shape=(10**5, 10**5))", "np.arange(10**13)",
        "np.arange(0, 1, 1e-15)", "np.arange(0, 1, step=1e-15)", "np.linspace(0, 1, 10**12)",
        "np.linspace(0, 1, num=10**12)", "np.outer(np.ones(10**5), np.ones(10**5))",
        "np.ones((10**5, 1)) * np.ones(10**5)", "np.diag(np.ones(10**5))", "np.ones((10**5, 1)) @ np.ones((1, 10**5))",
        "np.dot(np.ones((10**5, 1)), np.ones((1, 10**5)))", "np.ones((10**5, 1)) > np.ones(10**5)",
        "np.where(np.ones((10**5, 1)), np.ones(10**5), 0)", "np.histogram(1.0, bins=10**12)",
        "np.histogram(1.0, 10**12)", "np.maximum(np.ones((10**5, 1)), np.ones(10**5))",
        "np.inner(np.ones((10**5, 1)), np.ones((10**5, 1)))", "np.diff(np.ones(3), 10**9)",
        "np.diff(np.ones(3), n=10**9)", "np.diag(np.ones(1), 10**6)",
        "np.matmul(np.ones((10**5, 1)), np.ones((1, 10**5)))", "max(np.ones((10**5, 1)), np.ones(10**5))",
        "round(1.5, 10**400)", "(" * 90 + "x" + ")" * 90 + "+" * 1500 + "1", "-" * 60 + "x", "not " * 60 + "x",
        "x" + "[0]" * 60, "x" + "+1" * 60, "sum(axis=" * 60 + "x" + ")" * 60,
    ],
)  # fmt: skip
def test_what_would_take_forever_or_all_memory_is_refused_at_once(text):
    with pytest.raises(GradvizError):
        worked_out(text, x=np.ones(2))


def test_the_error_says_how_large_it_would_be():
    with pytest.raises(GradvizValueError, match=r"ones would make an array of 1,000,000,000,000 elements"):
        worked_out("np.ones((10**6, 10**6))")
    with pytest.raises(GradvizValueError, match="the limit is 2000"):
        Expression("x + " * 1000 + "x")
    assert worked_out("np.ones(10**6).size") == 10**6 < LARGEST


def test_what_is_large_already_can_be_used():
    x = np.broadcast_to(1.0, (LARGEST * 2,))
    assert worked_out("x[:3] * 2 > 1", x=x).all()
    assert worked_out("np.size(x)", x=x) == LARGEST * 2


def test_what_is_read_cannot_be_written():
    x = np.arange(3.0)
    for text in ("np.exp(x, x)", "np.cumsum(x, 0, 'f8', x)", "np.median(x, 0, x, True)", "np.clip(x, 5, 6, x)"):
        with pytest.raises(GradvizError):
            worked_out(text, x=x)
    assert x.tolist() == [0, 1, 2]
    assert x.flags.writeable


def test_complex_numbers_have_norms():
    assert worked_out("norm(x)", x=np.array([3j, 4.0])) == 5
    assert worked_out("x * 1j", x=2.0) == 2j


NAMES = [
    "layers.0.weight",
    "a:b",
    "x > 1",
    "nan",
    "op:log",
    "layers[0].W",
    "µ",
    "ﬁt",
    "enc.lambda.W",
    "not",
    "é",
    "1",
    " ",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_written(name):
    frame = Frame(Graph((Node(0, name, "param", "param"), Node(1, "y", "neg", "op", (0,)))), [7.0, -7.0], [2.0, None])
    d = Debugger(frame)
    d.step(1)
    quoted = f"`{name}`"
    assert d.evaluate(f"{quoted} + y") == 0
    assert Expression(f"{quoted}.grad > 1").names == ((name, "grad"),)
    if name in {"layers.0.weight", "µ", "ﬁt", "enc.lambda.W", "é"}:
        assert d.evaluate(f"{name} + 1") == 8


def test_another_iteration(tmp_path):
    d = Debugger(gradviz.open_run(recorded("gaps", tmp_path / "run")))
    d.seek(it=14)
    before = d.timeline.steps(5).full
    assert d.evaluate("norm(w@5)") == pytest.approx(np.linalg.norm(before.value("w")))
    assert np.array_equal(d.evaluate("w.grad@5"), before.grad("w"))
    assert np.array_equal(d.evaluate("w - w@14"), np.zeros((3, 3)))
    assert d.evaluate("loss@2 > loss@71")
    assert d.evaluate("(w @ w).shape") == (3, 3)
    with pytest.raises(UnknownNameError, match="no iteration 3"):
        d.evaluate("w@3")


def test_names_in_order_and_depth():
    assert list(references(parse("norm(a.b.grad) > c + np.sum(d, axis=e)"))) == [
        ("a", "b", "grad"), ("c",), ("d",), ("e",),
    ]  # fmt: skip
    assert depth(parse("a + b * c")) == 3
    assert Expression("w@3 + v.grad@-1").iterations == (3, -1)


def test_a_name_that_is_not_there():
    d = Debugger(Tensor(2.0, name="weight") * 3.0)
    with pytest.raises(UnknownNameError, match="weigth"):
        d.evaluate("weigth + 1")
    with pytest.raises(UnknownNameError, match="attribute"):
        d.evaluate("weight.gard")
    with pytest.raises(UnknownNameError, match="function"):
        Expression("nrom(weight)")
