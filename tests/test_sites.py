"""Where a node was made: file, line, columns, the very expression, the name it was given."""

import importlib.util
import inspect
import linecache
import runpy
import textwrap

import numpy as np
import pytest

import gradviz
from gradviz import Tensor, grad
from gradviz.engine.sites import assigned_name
from gradviz.engine.tensor import site
from gradviz.errors import GradvizTypeError, ShapeError

w, b, X = Tensor([1.0, 2.0], name="w"), Tensor(0.5), np.array([3.0, 4.0])


def here():
    return inspect.currentframe().f_back.f_lineno


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: w * X + b, "w * X + b"),
        (lambda: (w * X).sum(), "(w * X).sum()"),  # noqa: PLW0108
        (lambda: np.tanh(w), "np.tanh(w)"),
        (lambda: np.sum(w, axis=0), "np.sum(w, axis=0)"),
        (lambda: -w, "-w"),
        (lambda: 2 - w, "2 - w"),
        (lambda: w**2, "w**2"),
        (lambda: w[0], "w[0]"),
        (lambda: w @ X, "w @ X"),
        (lambda: X @ w, "X @ w"),
        (lambda: X * w, "X * w"),
        (lambda: abs(w), "abs(w)"),
        (lambda: gradviz.relu(w), "gradviz.relu(w)"),
        (lambda: w.mean(), "w.mean()"),  # noqa: PLW0108
        (lambda: w.T, "w.T"),
        (lambda: np.concatenate([w, w]), "np.concatenate([w, w])"),
        (lambda: np.where(w > 1, w, 0), "np.where(w > 1, w, 0)"),
        (lambda: gradviz.softmax(w), "gradviz.softmax(w)"),
        (lambda: Tensor(1.0), "Tensor(1.0)"),
        (lambda: gradviz.tensor([1.0]), "gradviz.tensor([1.0])"),
        (lambda: gradviz.constant(X), "gradviz.constant(X)"),
        (lambda: np.stack([w, w]).var(axis=0), "np.stack([w, w]).var(axis=0)"),
    ],
)
def test_the_text_is_the_very_expression(make, text):
    source = make().source
    assert source.text == text
    assert source.file == __file__
    assert source.function == "<lambda>"
    line = linecache.getline(__file__, source.line)
    assert line[source.column : source.end_column] == text


def test_line_and_function():
    y = w * 2
    assert (y.source.line, y.source.function) == (here() - 1, "test_line_and_function")
    assert y.source.code == "y = w * 2"


def test_expressions_over_several_lines():
    y = (
        w
        * X
        + b
    )  # fmt: skip
    assert y.source.text == "w * X + b"
    z = np.sum(
        y,
        axis=0,
    )
    assert z.source.text.startswith("np.sum(")
    assert z.source.line == here() - 5


def test_columns_count_characters_not_bytes():
    größe = Tensor(2.0)  # noqa: PLC2401
    y = größe * 2 + größe * 3
    assert y.inputs[1].source.text == "größe * 3"
    assert y.source.column == 8


def test_operands_on_one_line_are_told_apart():
    y = (w * 2) + (w * 3)
    assert [x.source.text for x in y.inputs] == ["w * 2", "w * 3"]


def test_names_that_results_were_assigned_to():
    class Model:
        pass

    model = Model()
    total = w * 2
    first = second = w * 3
    model.out = w * 4
    loose = (w * 5).sum()
    assert assigned_name(*site(total)) == "total"
    assert assigned_name(*site(first)) == "first"
    assert first is second
    assert assigned_name(*site(model.out)) == "model.out"
    assert assigned_name(*site(loose)) == "loose"
    assert assigned_name(*site(loose.inputs[0])) is None


def test_code_without_a_file():
    made = {"w": w}
    exec(compile("y = w * 2 + 1", "<typed>", "exec"), made)
    source = made["y"].source
    assert (source.file, source.line, source.text) == ("<typed>", 1, "")
    assert assigned_name(*site(made["y"])) == "y"
    made["y"].sum().backward()
    text = "z = w * 3\n"
    linecache.cache["<cell 1>"] = (len(text), None, [text], "<cell 1>")
    exec(compile(text, "<cell 1>", "exec"), made)
    assert made["z"].source.text == "w * 3"
    w.zero_grad()


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OLD = """
def inner(w):
    return w * 2  # as it ran

def loss(w):
    return inner(w) + 1
"""


def test_a_file_edited_after_running_shows_the_old_text(tmp_path):
    path = tmp_path / "edited.py"
    path.write_text(OLD)
    y = load(path, "edited_one").loss(Tensor(1.0))
    y.backward()
    path.write_text(OLD.replace("w * 2  # as it ran", "w / 7  # edited") + "\n# more\n")
    linecache.checkcache()
    assert y.source.text == "inner(w) + 1"
    assert y.inputs[0].source.text == "w * 2"
    assert y.inputs[0].source.code == "return w * 2  # as it ran"


def test_a_file_edited_before_anybody_looked_shows_no_wrong_text(tmp_path):
    path = tmp_path / "edited.py"
    path.write_text(OLD)
    y = load(path, "edited_two").loss(Tensor(1.0))
    path.write_text("# a new first line\n" + OLD.replace("w * 2", "w / 7"))
    linecache.checkcache()
    assert y.inputs[0].source.text in {"w * 2", ""}
    assert y.source.text in {"inner(w) + 1", ""}


def test_two_versions_of_one_file_keep_their_own_text(tmp_path):
    path = tmp_path / "edited.py"
    path.write_text(OLD)
    old = load(path, "edited_three").loss(Tensor(1.0))
    old.backward()
    path.write_text(OLD.replace("inner(w) + 1", "inner(w) - 9"))
    new = load(path, "edited_four").loss(Tensor(1.0))
    new.backward()
    assert old.source.text == "inner(w) + 1"
    assert new.source.text == "inner(w) - 9"


def test_a_script_that_is_gone(tmp_path):
    path = tmp_path / "gone.py"
    path.write_text("from gradviz import Tensor\ny = Tensor(1.0) * 2\n")
    y = runpy.run_path(str(path))["y"]
    path.unlink()
    linecache.clearcache()
    assert y.source.line == 2
    y.backward()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1"])
def test_odd_encodings(tmp_path, encoding):
    path = tmp_path / "odd.py"
    head = "# -*- coding: latin-1 -*-\n" if encoding == "latin-1" else "#\n"
    path.write_bytes((head + "def f(w):\n    é = 'ü'; y = w * 2; return y\n").encode(encoding))
    assert load(path, "odd_one").f(Tensor(1.0)).source.text == "w * 2"


def test_gradients_that_are_recorded_show_the_place_they_are_of():
    x = Tensor(3.0)
    y = x**3
    y.backward(create_graph=True)
    assert x.grad.source.text == "x**3"
    slope = grad(lambda t: t * t)(x)
    assert slope.source.file == __file__


def test_scalars_and_leaves_have_places():
    t = Tensor(1.0)
    assert t.source.text == "Tensor(1.0)"
    assert (t * 2).inputs[1].source is not None


# -- errors -----------------------------------------------------------------------------------


def test_a_shape_mismatch_names_both_operands_and_the_line():
    weights, inputs = Tensor(np.ones((2, 3)), name="weights"), Tensor(np.ones((4, 5)))
    line = here() + 1
    for make in (lambda: weights + inputs, lambda: weights @ inputs, lambda: np.hypot(weights, inputs)):
        with pytest.raises(ShapeError) as caught:
            make()
        text = str(caught.value)
        assert "weights of shape (2, 3)" in text
        assert "inputs of shape (4, 5)" in text
        assert f"{__file__}:{line}" in text
        assert isinstance(caught.value, ValueError)


def test_a_shape_mismatch_with_a_plain_array():
    extra = np.ones(5)
    with pytest.raises(ShapeError, match=r"w of shape \(2,\), extra of shape \(5,\)"):
        w + extra
    with pytest.raises(ShapeError, match=r"extra of shape \(5,\), w of shape \(2,\)"):
        np.multiply(extra, w)


@pytest.mark.parametrize(
    ("call", "wrong", "near"),
    [
        (lambda: np.linalg.eigvals(Tensor(np.eye(2))), "eigvals", ""),
        (lambda: np.nancumsum(w), "nancumsum", "cumsum"),
        (lambda: np.frexp(w), "frexp", "exp"),
        (lambda: np.heaviside(w, 0.0), "heaviside", ""),
        (lambda: np.fft.fft2(Tensor(np.eye(2))), "fft2", ""),
    ],
)
def test_a_function_without_a_rule_names_the_nearest(call, wrong, near):
    try:
        result = call()
    except GradvizTypeError as error:
        text = str(error)
        assert wrong in text
        assert near in text
        assert __file__ in text
        assert "register_op" in text
    else:
        assert isinstance(result, Tensor | tuple), "never a silent drop to an array"


def test_errors_inside_a_module_of_the_user_point_there(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(
        textwrap.dedent("""
        def forward(w, x):
            hidden = w * 2
            return hidden + x
        """)
    )
    with pytest.raises(ShapeError, match=r"model\.py:4"):
        load(path, "model_one").forward(w, np.ones(7))
