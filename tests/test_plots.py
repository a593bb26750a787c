"""Plots: what the lines hold, what is marked, names from anywhere, and the verb."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import gradviz
from gradviz import Tensor, cli
from gradviz.errors import (
    GradvizIndexError,
    GradvizTypeError,
    GradvizValueError,
    MissingExtraError,
    MissingFolderError,
    UnknownNameError,
)
from gradviz.tracing.evaluating import loss_at, losses_at
from gradviz.tracing.surfaces import surface
from gradviz.views.plot import KINDS, canvas, plot, render, save
from gradviz.views.plot.canvas import COLOURS, DASHES, chosen_scale, look, named
from gradviz.views.plot.series import layers, masked, quantity_lines, update_ratio
from tests.hostile import HOSTILE

matplotlib.use("agg")

X = np.linspace(-0.5, 0.5, 20)
Y = 0.7 * X + 0.2 + 0.05 * np.sin(40 * X)


def line_loss(weight, bias):
    x, y = Tensor(X, name="x", requires_grad=False), Tensor(Y, name="y", requires_grad=False)
    return ((weight * x + bias - y) ** 2).mean()


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    path = tmp_path_factory.mktemp("line") / "run"
    return gradviz.descend(line_loss, {"weight": 0.1, "bias": 1.0}, lr=0.2, steps=30, trace=path).run


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "run"
    rng = np.random.default_rng(0)
    params = {
        "enc.W": Tensor(rng.normal(size=(2, 6))),
        "enc.b": Tensor(np.zeros(6)),
        "dec.W": Tensor(rng.normal(size=(6, 1))),
    }
    x, y = Tensor(rng.normal(size=(8, 2)), requires_grad=False), Tensor(rng.normal(size=(8, 1)), requires_grad=False)

    def loss(**p):
        return ((np.tanh(x @ p["enc.W"] + p["enc.b"]) @ p["dec.W"] - y) ** 2).mean()

    return gradviz.descend(loss, params, lr=0.05, steps=12, trace=path).run


def recorded(path, rows, **options):
    """Write a run of given numbers: (loss, {name: (value, grad)}) a step."""
    held = {name: Holder() for name in rows[0][1]}
    with gradviz.trace(path, params=held, **options) as log:
        for loss, numbers in rows:
            for name, (value, grad) in numbers.items():
                held[name].data, held[name].grad = value, grad
            log.step(loss)
    return gradviz.open_run(path)


class Holder:
    data = 0.0
    grad = None


def shown(ax):
    """Return every text that is drawn."""
    ax.figure.draw_without_rendering()
    return [text.get_text() for text in ax.figure.findobj(matplotlib.text.Text) if text.get_text()]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() else []


def ys(ax, i=0):
    return np.asarray(ax.get_lines()[i].get_ydata(), float)


# -- every kind, and the registry


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_every_kind_is_drawn_in_every_format(line, kind, suffix):
    data = render(plot(line, kind), suffix)
    assert data[:5] in {b"<?xml", b"\x89PNG\r", b"%PDF-"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_plot_gives_the_same_bytes(line, kind):
    assert render(plot(line, kind)) == render(plot(line, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_it_draws_into_given_axes_and_changes_nothing_else(line, kind):
    before = dict(matplotlib.rcParams)
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plot(line, kind, ax=right) is right
    assert not left.get_lines()
    assert left.get_title(loc="left") == ""
    assert dict(matplotlib.rcParams) == before


def test_pyplot_hears_of_a_figure_only_where_it_would_show_it(monkeypatch):
    from matplotlib import pyplot

    assert canvas.canvas(None).own
    assert pyplot.get_fignums() == []
    monkeypatch.setattr(pyplot, "get_backend", lambda: "module://matplotlib_inline.backend_inline")
    ax = canvas.canvas(None).ax
    assert pyplot.get_fignums() == [ax.figure.number]
    pyplot.close(ax.figure)


def test_pyplot_is_not_imported_for_nothing():
    code = "import sys; from gradviz.views.plot.canvas import canvas; canvas(None); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert "matplotlib.pyplot" not in done.stdout.split()


@pytest.mark.parametrize("kind", KINDS)
def test_a_title_of_ones_own(line, kind):
    assert plot(line, kind, title="Here it is").get_title(loc="left") == "Here it is"


def test_unknown_kinds_and_options_are_named(line):
    with pytest.raises(UnknownNameError, match="did you mean loss"):
        line.plot("lost")
    with pytest.raises(GradvizTypeError, match="did you mean scale"):
        line.plot("loss", scales="log")
    with pytest.raises(GradvizValueError, match="allowed: auto, linear"):
        line.plot("loss", scale="cubic")
    with pytest.raises(GradvizValueError, match="allowed: parameter, layer"):
        line.plot("gradients", by="row")
    with pytest.raises(UnknownNameError, match="did you mean grad_norm"):
        line.plot("heatmap", of="gradnorm")
    with pytest.raises(GradvizValueError, match="elements"):
        line.plot("parameters", elements=-1)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"gradviz\[plot\]"):
        canvas.canvas(None)


def test_saving(line, tmp_path):
    saved = save(line.plot("loss"), tmp_path / "loss.svg")
    assert ET.parse(saved).getroot().tag.endswith("svg")
    assert b"<dc:date>" not in saved.read_bytes()
    with pytest.raises(GradvizValueError, match=r"allowed: \.svg"):
        save(line.plot("loss"), tmp_path / "loss.gif")
    with pytest.raises(MissingFolderError):
        save(line.plot("loss"), tmp_path / "no" / "loss.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["loss.svg"]


def test_axes_in_a_part_of_a_figure_are_saved_whole(line, tmp_path):
    part = Figure().subfigures(1, 2)[0]
    assert save(line.plot("loss", ax=part.subplots()), tmp_path / "loss.png").stat().st_size > 1000


# -- curves


def test_the_loss_is_what_was_recorded(line):
    ax = line.plot("loss")
    assert np.array_equal(ys(ax), line.loss)
    assert line[5:].plot("loss").get_yscale() == "linear"
    assert line[5:].plot("loss", scale="log").get_yscale() == "log"


def test_a_loss_that_falls_far_is_on_a_log_axis(tmp_path):
    run = recorded(tmp_path / "r", [(10.0**-k, {}) for k in range(5)])
    assert run.plot("loss").get_yscale() == "log"
    assert run.plot("loss", scale="linear").get_yscale() == "linear"


def test_what_is_not_finite_is_marked_and_leaves_a_gap(tmp_path):
    run = recorded(tmp_path / "r", [(loss, {}) for loss in (3.0, np.nan, 2.0, np.inf, 1.0)])
    ax = run.plot("loss")
    assert np.array_equal(np.isfinite(ys(ax)), [True, False, True, False, True])
    assert ax.get_lines()[1].get_xdata().tolist() == [1, 3]
    assert legend(ax) == ["NaN or inf in 2 of 5 steps"]
    render(ax)


def test_nothing_but_nan_is_drawn_too(tmp_path):
    run = recorded(tmp_path / "r", [(np.nan, {"w": (np.nan, np.inf)})] * 3)
    for kind in ("loss", "parameters", "gradients", "updates", "heatmap"):
        render(run.plot(kind), ".png")
    with pytest.raises(GradvizValueError, match="finite"):
        run.plot("path")


def test_zero_gradients_are_marked_below_a_log_axis(tmp_path):
    run = recorded(tmp_path / "r", [(1.0, {"w": (1.0, g)}) for g in (1.0, 0.0, 0.5)])
    assert legend(run.plot("gradients")) == ["0 (below a log axis)"]


def test_several_runs_share_one_axis(line, tmp_path):
    other = recorded(tmp_path / "other", [(1.0, {}), (0.5, {})])
    ax = line.plot("loss", runs={"the other": other})
    assert legend(ax)[1] == "the other"
    assert np.array_equal(ys(ax, 1), [1.0, 0.5])
    assert len(legend(line.plot("loss", runs=[other]))) == len(legend(line.plot("loss", runs=other))) == 2
    assert legend(line.plot("loss", runs=[line, line[5:]]))[:2] == ["run", "run (2)"]
    together = gradviz.open_runs([line.path, other.path])
    assert legend(line.plot("loss", runs=together)) == ["run", "other"]
    with pytest.raises(GradvizTypeError, match="no list of runs"):
        line.plot("loss", runs=3)


def test_scalars_are_drawn_by_value_and_large_arrays_by_norm(line, net):
    ax = line.plot("parameters")
    assert legend(ax) == ["weight", "bias"]
    assert np.array_equal(ys(ax), line["weight"].value)
    assert legend(net.plot("parameters")) == ["‖enc.W‖", "‖enc.b‖", "‖dec.W‖"]
    ax = net.plot("parameters", elements=6)
    assert legend(ax)[:2] == ["‖enc.W‖", "enc.b[0]"]
    wanted = [np.linalg.norm(value) for value in net["enc.W"].value]
    assert any(np.allclose(drawn.get_ydata(), wanted) for drawn in ax.get_lines())


@pytest.mark.parametrize("level", ["full", "scalars"])
def test_gradient_norms_are_those_of_the_gradients_in_every_level(tmp_path, level):
    rows = [(1.0, {"a.W": (np.ones((2, 2)) * k, np.full((2, 2), 0.5 * k)), "a.b": (1.0, 2.0)}) for k in (1, 2, 3)]
    run = recorded(tmp_path / "r", rows, level=level)
    assert np.allclose(ys(run.plot("gradients")), [1.0, 2.0, 3.0])
    together = run.plot("gradients", by="layer")
    assert np.allclose(ys(together), np.hypot([1.0, 2.0, 3.0], 2.0))
    assert legend(together) == []
    assert legend(run.plot("parameters"))[0] == ("a.W[0,0]" if level == "full" else "‖a.W‖")


def test_a_gradient_that_was_not_there_is_a_gap_and_not_a_zero(tmp_path):
    run = recorded(tmp_path / "r", [(1.0, {"w": (1.0, g)}) for g in (1.0, None, 0.5)])
    ax = run.plot("gradients")
    assert np.isnan(ys(ax)[1])
    assert legend(ax) == []
    assert "not recorded" in legend(run.plot("heatmap"))


def test_update_ratios(tmp_path):
    values = [np.array([3.0, 4.0]), np.array([3.0, 4.5]), np.array([3.0, 4.5])]
    run = recorded(tmp_path / "r", [(1.0, {"w": (v, v)}) for v in values])
    ratio = update_ratio(run, "w")
    assert ratio.tolist() == [0.1, 0.0, None]
    ax = run.plot("updates")
    assert legend(ax) == ["1e-3, a rule of thumb", "0 (below a log axis)"]


def test_update_ratios_are_the_same_block_by_block(net, monkeypatch):
    whole = update_ratio(net, "enc.W")
    monkeypatch.setattr("gradviz.views.plot.series.BLOCK_BYTES", 300)
    assert update_ratio(net, "enc.W").tolist() == whole.tolist()
    values = net["enc.W"].value
    first = np.linalg.norm(values[1] - values[0]) / np.linalg.norm(values[0])
    assert np.isclose(whole[0], first, rtol=1e-14)


@pytest.fixture(scope="module")
def checkpointed(tmp_path_factory):
    """Return the run of a parameter too large to be recorded in every step."""
    w = Tensor(np.random.default_rng(0).normal(size=9000), name="W")
    b = Tensor(1.0, name="b")
    with gradviz.trace(tmp_path_factory.mktemp("large") / "run", params={"W": w, "b": b}, checkpoint=4) as log:
        for _ in range(14):
            w.zero_grad()
            b.zero_grad()
            loss = (w * w).mean() + b * b
            loss.backward()
            log.step(loss)
            w.data = w.data - 100.0 * w.grad
            b.data = b.data - 0.1 * b.grad
    return gradviz.open_run(log.path)


def test_update_ratios_of_a_large_array_are_known_at_its_checkpoints(checkpointed):
    by_name = {line.label: line.y for line in quantity_lines(checkpointed, "update", "parameter")}
    assert np.flatnonzero(~by_name["W"].mask).tolist() == [0, 4, 8, 12]
    assert np.allclose(by_name["W"].compressed(), 2 * 100.0 / 9000)
    assert np.allclose(by_name["b"][:-1], 0.2)
    assert legend(checkpointed.plot("updates"))[1:] == ["W", "b"]


def test_the_path_of_a_large_array_is_that_of_its_checkpoints(checkpointed):
    found = surface(checkpointed, points=5)
    assert len(found.way) == 5
    assert found.way_loss.tolist() == checkpointed.loss[[0, 4, 8, 12, 13]].tolist()
    assert np.isfinite(found.loss).all()
    assert surface(checkpointed, ("W[7]", "b"), points=3).loss.shape == (3, 3)


def test_large_arrays_are_drawn_by_norm_without_computing_them_again(checkpointed, monkeypatch):
    monkeypatch.setattr(type(checkpointed), "replayed_number", None)
    assert legend(checkpointed.plot("parameters")) == ["‖W‖", "b"]
    assert render(checkpointed.plot("gradients"))
    assert render(checkpointed.plot("heatmap"))


def test_update_ratios_without_values_say_so(tmp_path):
    rows = [(1.0, {"W": (np.ones(3) * k, np.ones(3)), "b": (k, 1.0)}) for k in (1.0, 2.0)]
    run = recorded(tmp_path / "r", rows, level="scalars")
    ax = run.plot("updates")
    assert "of 1 parameters only norms were recorded" in ax.get_xlabel()
    alone = recorded(tmp_path / "s", [(loss, {"W": n["W"]}) for loss, n in rows], level="scalars")
    assert "no two values in a row were recorded" in shown(alone.plot("updates"))


def test_a_row_that_is_missing_makes_no_update(tmp_path):
    held = Holder()
    with gradviz.trace(tmp_path / "r", params={"w": held}) as log:
        for step in (0, 1, 3, 4, 5):
            held.data = step + 1.0
            log.step(1.0, step=step)
    run = gradviz.open_run(tmp_path / "r")
    assert update_ratio(run, "w").mask.tolist() == [False, True, False, False, True]


def test_a_hundred_parameters_are_drawn_and_some_of_them_named(tmp_path):
    numbers = {f"layer{i}.w": (1.0 + i, 0.1 * (i + 1)) for i in range(100)}
    run = recorded(tmp_path / "r", [(1.0, numbers), (0.5, numbers)])
    for kind in ("parameters", "gradients"):
        ax = run.plot(kind)
        assert len(ax.get_lines()) >= 100
        assert len(legend(ax)) == 13
        assert legend(ax)[0] == "layer0.w"
        assert legend(ax)[-2:] == ["layer99.w", "and 88 more"]
    ax = run.plot("heatmap")
    assert len(ax.get_yticks()) <= 30


def test_lines_differ_by_colour_and_by_dashes_from_their_neighbours():
    looks = [(look(i)["color"], str(look(i)["linestyle"])) for i in range(12)]
    assert len(set(looks)) == 12
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in pairwise(looks))
    assert len(COLOURS) == 6
    assert len(DASHES) == 4


def test_scales():
    numbers = [np.ma.array([-1e9, 1.0, 2.0, 3.0])]
    assert chosen_scale("auto", numbers) == "symlog"
    assert chosen_scale("log", numbers) == "log"
    assert chosen_scale("log", [np.ma.array([-1.0, 0.0])]) == "linear"
    assert chosen_scale("auto", [np.ma.array([0.0, 0.0])]) == "linear"
    assert chosen_scale("auto", []) == "linear"


@pytest.mark.parametrize("sizes", [(1e300, -1e300, 1.0), (1e308, -1e308, 0.0), (5e-324, 0.0, -5e-324)])
def test_numbers_at_the_ends_of_the_range(tmp_path, sizes):
    run = recorded(tmp_path / "r", [(size, {"w": (size, size)}) for size in sizes])
    for kind in ("loss", "parameters", "gradients", "updates", "heatmap"):
        assert render(run.plot(kind), ".png")


def test_what_no_axis_can_hold_is_marked(tmp_path):
    run = recorded(tmp_path / "r", [(1.0, {}), (1e305, {}), (2.0, {})])
    assert legend(run.plot("loss")) == ["beyond ±1e+200"]


# -- the map


def test_the_map_holds_logarithms_and_sets_zeros_and_nan_apart(tmp_path):
    grads = {"a": (0.01, 0.0, 1.0), "b": (1.0, np.nan, None)}
    rows = [(1.0, {name: (1.0, g[k]) for name, g in grads.items()}) for k in range(3)]
    ax = recorded(tmp_path / "r", rows).plot("heatmap")
    found = ax.collections[0].get_array()
    assert found.tolist() == [[-2.0, None, 0.0], [0.0, None, None]]
    assert legend(ax) == ["not recorded", "exactly 0", "NaN or inf"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]


def test_of_many_steps_the_largest_of_each_bin_is_shown(tmp_path, monkeypatch):
    monkeypatch.setattr("gradviz.views.plot.heat.COLUMNS", 5)
    run = recorded(tmp_path / "r", [(1.0, {"w": (1.0, 10.0**k)}) for k in range(10)])
    assert run.plot("heatmap").collections[0].get_array().tolist() == [[1.0, 3.0, 5.0, 7.0, 9.0]]


@pytest.mark.parametrize("of", ["grad_norm", "norm", "update"])
@pytest.mark.parametrize("by", ["parameter", "layer"])
def test_the_map_of_other_quantities(net, of, by):
    rows = net.plot("heatmap", of=of, by=by).collections[0].get_array()
    assert rows.shape == (3 if by == "parameter" else 2, 12)


# -- the way over the loss


def test_one_parameter_gives_a_curve_that_goes_through_the_steps(tmp_path):
    run = gradviz.descend(lambda w: (w**2 - 2) ** 2, {"w": 2.0}, lr=0.02, steps=8, trace=tmp_path / "r").run
    found = surface(run)
    assert np.allclose(found.loss, (found.axes[0] ** 2 - 2) ** 2)
    assert np.array_equal(found.way[:, 0], run["w"].value)
    ax = run.plot("path")
    assert ax.get_xlabel() == "w"
    assert legend(ax) == ["loss", "8 steps", "first", "last"]


def test_two_parameters_give_a_surface(line):
    found = surface(line)
    assert found.labels == ("weight", "bias")
    assert found.loss.shape == (61, 61)
    w, b = found.axes[0][40], found.axes[1][10]
    assert np.isclose(found.loss[10, 40], np.mean((w * X + b - Y) ** 2), rtol=1e-12)
    assert found.axes[1][0] < line["bias"].value.min() < line["bias"].value.max() < found.axes[1][-1]
    assert surface(line, points=5).loss.shape == (5, 5)


def test_elements_and_one_of_two_can_be_chosen(net, line):
    found = surface(net, ("enc.W[1,2]", "enc.b[0]"), points=7)
    assert np.array_equal(found.way[:, 0], net["enc.W"].value[:, 1, 2])
    frame = net.frame(-1)
    changed = frame.value("enc.W").copy()
    changed[1, 2] = found.axes[0][3]
    bias = frame.value("enc.b").copy()
    bias[0] = found.axes[1][4]
    assert found.loss[4, 3] == loss_at(frame, {"enc.W": changed, "enc.b": bias})
    assert surface(line, "bias").loss.shape == (201,)
    assert line.plot("path", of=("bias",)).get_xlabel() == "bias"


def test_many_numbers_are_seen_in_the_plane_of_the_path(net):
    found = surface(net, points=9)
    assert "principal direction" in found.labels[0]
    assert np.allclose(found.way[-1], 0.0)
    middle = np.array([np.interp(0.0, axis, np.arange(9.0)) for axis in found.axes])
    assert np.isfinite(found.loss).all()
    assert 0 < middle.min() < middle.max() < 8
    assert render(net.plot("path", points=9))


def test_a_surface_that_cannot_be_asked_for(net, line, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean weight"):
        surface(line, "wieght")
    with pytest.raises(GradvizValueError, match="array of shape"):
        surface(net, "enc.W")
    with pytest.raises(GradvizIndexError, match="no element"):
        surface(net, "enc.W[9,9]")
    with pytest.raises(GradvizValueError, match="one direction or two"):
        surface(net, ("enc.b[0]", "enc.b[1]", "enc.b[2]"))
    with pytest.raises(GradvizValueError, match="twice"):
        surface(line, ("bias", "bias"))
    with pytest.raises(GradvizValueError, match="points"):
        surface(line, points=1)
    norms = recorded(tmp_path / "r", [(1.0, {"W": (np.ones(3), np.ones(3))})] * 2, level="scalars")
    with pytest.raises(GradvizValueError, match="only the norm"):
        norms.plot("path")


def test_where_the_loss_is_not_finite_it_is_hatched(tmp_path):
    run = gradviz.descend(lambda w: w - np.log(w), {"w": 0.2}, lr=0.01, steps=5, trace=tmp_path / "r").run
    found = surface(run, margin=5.0)
    assert np.isnan(found.loss[found.axes[0] < 0]).all()
    assert "NaN or inf" in legend(run.plot("path", margin=5.0))
    two = gradviz.descend(
        lambda w, b: w - np.log(w) + b**2, {"w": 0.2, "b": 1.0}, lr=0.05, steps=9, trace=tmp_path / "s"
    ).run
    ax = two.plot("path", margin=3.0, points=11)
    assert legend(ax)[0] == "NaN or inf"
    assert render(ax)


def test_a_run_that_diverges_is_shown_at_its_beginning(tmp_path):
    run = gradviz.descend(
        lambda w, b: (3 * w + b - 2) ** 2 + b**2, {"w": 1.0, "b": 0.5}, lr=0.3, steps=60, trace=tmp_path / "r"
    ).run
    found = surface(run, points=9)
    assert found.axes[0][-1] - found.axes[0][0] < 100.0
    assert legend(run.plot("path", points=9)) == ["3 of 60 steps", "first"]


def test_a_graph_of_single_numbers_is_computed_at_all_points_at_once(tmp_path, monkeypatch):
    run = gradviz.descend(
        lambda w, b: sum((w * x + b - y) ** 2 for x, y in zip(X, Y, strict=True)) / 20 + np.exp(-w) * b,
        {"w": 0.1, "b": 1.0}, lr=0.1, steps=4, trace=tmp_path / "r",
    ).run  # fmt: skip
    found = surface(run)
    frame = run.frame(-1)
    one = loss_at(frame, {"w": float(found.axes[0][7]), "b": float(found.axes[1][50])})
    assert np.isclose(found.loss[50, 7], one, rtol=1e-12)
    monkeypatch.setattr("gradviz.tracing.evaluating.is_scalar_only", lambda graph: False)
    points = np.array([[0.1, 1.0], [0.3, -2.0]])
    one_by_one = losses_at(frame, points, lambda row: {"w": row[0], "b": row[1]})
    monkeypatch.undo()
    assert np.allclose(losses_at(frame, points, lambda row: {"w": row[0], "b": row[1]}), one_by_one, rtol=1e-12)


def test_without_a_graph_the_way_is_drawn_and_the_reason_given(tmp_path):
    run = recorded(tmp_path / "r", [(float(k), {"w": (float(k), 1.0)}) for k in range(4)])
    ax = run.plot("path")
    assert any("no surface" in text and "no graph" in text for text in shown(ax))
    assert legend(ax) == ["4 steps", "first", "last"]


# -- the fit


def test_the_line_before_and_after_is_found_in_the_graph(line):
    ax = line.plot("fit")
    data, before, after = (curve.get_ydata() for curve in ax.get_lines())
    assert np.array_equal(np.sort(data), np.sort(Y))
    assert np.array_equal(before, 0.1 * X + 1.0)
    assert np.array_equal(after, line["weight"].value[-1] * X + line["bias"].value[-1])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y")
    assert legend(ax)[1].startswith("before: step 0, loss ")


def test_a_fit_by_names_by_arrays_and_by_a_function(line):
    by_name = line.plot("fit", x="x", y="y")
    by_array = line.plot("fit", x=X, y=Y, prediction=(0.1 * X + 1.0, X))
    by_function = line.plot("fit", x=X, y=Y, prediction=lambda x, weight, bias: weight * x + bias)
    assert np.array_equal(by_name.get_lines()[1].get_ydata(), by_array.get_lines()[1].get_ydata())
    drawn = by_function.get_lines()[2]
    w, b = line["weight"].value[-1], line["bias"].value[-1]
    assert np.allclose(drawn.get_ydata(), w * drawn.get_xdata() + b)
    assert len(drawn.get_xdata()) == 200


def test_samples_computed_one_by_one_are_put_together(tmp_path):
    def loss(w, b):
        total = Tensor(0.0, requires_grad=False)
        for x, y in zip(X.tolist(), Y.tolist(), strict=True):
            total = total + (y - (w * x + b)) ** 2
        return total / len(X)

    run = gradviz.descend(loss, {"w": 0.1, "b": 1.0}, lr=0.2, steps=3, trace=tmp_path / "r").run
    data, before, _ = (curve.get_ydata() for curve in run.plot("fit").get_lines())
    assert np.allclose(np.sort(data), np.sort(Y))
    assert np.allclose(before, 0.1 * X + 1.0)


def test_a_fit_that_is_not_there_says_what_to_name(tmp_path, line):
    run = gradviz.descend(lambda w: (w - 3) ** 2, {"w": 0.0}, lr=0.1, steps=3, trace=tmp_path / "r").run
    with pytest.raises(GradvizValueError, match="name the nodes"):
        run.plot("fit")
    with pytest.raises(UnknownNameError):
        line.plot("fit", x="z")
    with pytest.raises(GradvizValueError, match="20 numbers"):
        line.plot("fit", x=X, y=Y[:5])
    with pytest.raises(GradvizTypeError, match="no numbers"):
        line.plot("fit", x=["a"] * 20)
    with pytest.raises(GradvizTypeError, match="a pair of arrays"):
        line.plot("fit", prediction=3)
    plain = recorded(tmp_path / "s", [(1.0, {"w": (1.0, 1.0)})])
    with pytest.raises(GradvizValueError, match="nothing compares it with data"):
        plain.plot("fit")


# -- runs of every shape


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_without_steps_says_so(tmp_path, kind):
    with gradviz.trace(tmp_path / "r", params={"w": Tensor(1.0)}):
        pass
    assert "the run has no steps yet" in shown(gradviz.open_run(tmp_path / "r").plot(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_one_step_is_drawn(line, kind):
    assert render(line[:1].plot(kind))


@pytest.mark.parametrize("kind", ["loss", "parameters", "gradients", "updates", "heatmap"])
def test_parameters_that_come_go_and_change_their_shape(tmp_path, kind):
    rows = []
    held = {"w": Holder()}
    with gradviz.trace(tmp_path / "r", params=held) as log:
        for k in range(6):
            held["w"].data = np.ones(2 + k // 3)
            held["w"].grad = np.ones(2 + k // 3) * k
            log.step(float(k))
            rows.append(np.sqrt(2 + k // 3) * k)
    run = gradviz.open_run(tmp_path / "r")
    assert render(run.plot(kind))
    if kind == "gradients":
        assert np.allclose(np.nan_to_num(ys(run.plot(kind))), rows)


@pytest.mark.parametrize("kind", ["parameters", "gradients", "updates", "heatmap", "path"])
def test_names_from_anywhere_are_text_and_nothing_else(tmp_path, kind):
    names = [*filter(None, HOSTILE), "_hidden", "$x$", r"$\frac", "a\\$b$"]
    for start in range(0, len(names), 12):
        pair = names[start : start + 12]
        rows = [(1.0 / k, {name: (float(k), 0.1 * k) for name in pair}) for k in (1, 2, 3)]
        run = recorded(tmp_path / f"r{start}", rows)
        ax = run.plot(kind)
        assert render(ax).startswith(b"<?xml")
        if kind in {"parameters", "gradients"} and len(pair) > 1:
            assert legend(ax)[: len(pair)] == [named(name) for name in pair]


def test_names_are_short_and_on_one_line():
    assert len(named("x" * 65_536)) == 32
    assert named("two\nlines $") == r"two\nlines \$"
    assert named(" ") == '" "'


def test_layers_and_masks():
    assert layers(["a.b.W", "a.b.c", "w"]) == {"a.b": ["a.b.W", "a.b.c"], "w": ["w"]}
    assert masked(np.array([3 + 4j])).tolist() == [5.0]


def test_complex_parameters_are_measured(tmp_path):
    run = recorded(tmp_path / "r", [(1.0, {"z": (np.array([3 + 4j]), np.array([1j]))})] * 2)
    assert ys(run.plot("parameters")).tolist() == [5.0, 5.0]
    assert quantity_lines(run, "update", "parameter")[0].y[0] == 0.0


# -- the verb


def test_the_verb_writes_a_plot(line, tmp_path, capsys):
    for name in ("loss.svg", "loss.png", "loss.pdf"):
        assert cli.main(["plot", str(line.path), "-o", str(tmp_path / name)]) == 0
        assert (tmp_path / name).stat().st_size > 1000
    assert (
        cli.main(["plot", str(line.path), "--kind", "path", "--of", "weight; bias", "-o", str(tmp_path / "p.svg")]) == 0
    )
    assert cli.main(["plot", str(line.path), str(line.path), "-o", str(tmp_path / "two.svg")]) == 0
    assert "wrote" in capsys.readouterr().err


def test_the_verb_lists_the_kinds(capsys):
    assert cli.main(["plot", "--list"]) == 0
    text = capsys.readouterr().out
    assert all(kind in text for kind in KINDS)


@pytest.mark.parametrize(
    ("line_of_words", "said"),
    [
        (["plot"], "there is no run to plot"),
        (["plot", "RUN"], "where should the plot go"),
        (["plot", "RUN", "-o", "x.gif"], "known: .svg .png .pdf"),
        (["plot", "RUN", "--kind", "pth", "-o", "x.svg"], "did you mean path"),
        (["plot", "RUN", "--by", "layer", "-o", "x.svg"], "no option 'by'"),
        (["plot", "RUN", "--dpi", "0", "-o", "x.png"], "out of range"),
        (["plot", "nowhere", "-o", "x.png"], "there is no run"),
        (["plot", "RUN", "RUN", "--kind", "fit", "-o", "x.png"], "'fit' is of one run"),
    ],
)
def test_a_wrong_line_is_told(line, capsys, tmp_path, monkeypatch, line_of_words, said):
    monkeypatch.chdir(tmp_path)
    words = [str(line.path) if word == "RUN" else word for word in line_of_words]
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("x.*"))


def test_a_plot_goes_to_stdout(line):
    done = subprocess.run(
        [sys.executable, "-m", "gradviz", "plot", str(line.path), "-o", "-"],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert ET.fromstring(done.stdout).tag.endswith("svg")
    assert done.stderr == b""
