"""Comparing: numbers bit for bit, frames, runs of every kind, the page, and the verb."""

import base64
import hashlib
import json
import math
import re

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

import gradviz
from gradviz import Tensor, cli, diff
from gradviz.errors import GradvizTypeError, TraceError
from gradviz.escape import clean
from gradviz.graphs import Frame
from gradviz.tracing.measuring import identical, measured, plain, told_apart, ulps_apart
from gradviz.views import comparison
from gradviz.views.comparisoncharts import thinned
from tests.hostile import HOSTILE
from tests.pages import Reader


class Holder:
    data = 0.0
    grad = None


def recorded(path, rows, **options):
    """Write a run of given numbers: (loss, {name: (value, grad)}) a step, or (step, loss, {...})."""
    held = {name: Holder() for name in rows[0][-1]}
    with gradviz.trace(path, params=held, **options) as log:
        for *step, loss, numbers in rows:
            for name, (value, grad) in numbers.items():
                held[name].data, held[name].grad = value, grad
            log.step(loss, **({"step": step[0]} if step else {}))
    return gradviz.open_run(path)


def descent(path, lr=0.1, steps=8, start=1.0, **options):
    """Return the run of a small descent."""
    w, b = Tensor(start, name="w"), Tensor(0.5, name="b")
    with gradviz.trace(path, params={"w": w, "b": b}, **options) as log:
        for _ in range(steps):
            w.zero_grad()
            b.zero_grad()
            error = w * 3.0 + b - 2.0
            loss = error**2
            loss.backward()
            log.step(loss)
            w.data = w.data - lr * w.grad
            b.data = b.data - lr * b.grad
    return gradviz.open_run(path)


def network(path, steps=10, level="auto", bump=None, rng=0, **options):
    """Return the run of a network; after step ``bump`` one weight is moved by one ulp."""
    found = np.random.default_rng(rng)
    params = {"W": Tensor(found.normal(size=(3, 40)), name="W"), "V": Tensor(found.normal(size=(40, 1)), name="V")}
    x, y = (
        Tensor(found.normal(size=(5, 3)), requires_grad=False),
        Tensor(found.normal(size=(5, 1)), requires_grad=False),
    )
    with gradviz.trace(path, params=params, level=level, **options) as log:
        for step in range(steps):
            for p in params.values():
                p.zero_grad()
            loss = ((np.tanh(x @ params["W"]) @ params["V"] - y) ** 2).mean()
            loss.backward()
            log.step(loss)
            for p in params.values():
                p.data = p.data - 0.01 * p.grad
            if step == bump:
                moved = params["W"].data.copy()
                moved[1, 7] = np.nextafter(moved[1, 7], np.inf)
                params["W"].data = moved
    return gradviz.open_run(path)


# -- numbers


def test_the_same_bits_are_the_same():
    nan = np.array([0x7FF8000000000001], np.uint64).view(float)[0]
    assert identical(math.nan, math.nan)
    assert not identical(math.nan, nan)
    assert not identical(0.0, -0.0)
    assert identical(np.float32(0.5), 0.5)
    assert not identical(np.ones(2, np.float32), np.ones(2))
    assert not identical(np.ones(2), np.ones((2, 1)))
    assert identical(None, None)
    assert not identical(None, 0.0)


@pytest.mark.parametrize(
    ("a", "b", "ulps"),
    [
        (1.0, np.nextafter(1.0, 2), 1),
        (-1.0, np.nextafter(-1.0, 0), 1),
        (0.0, -0.0, 1),
        (-5e-324, 5e-324, 3),
        (1.0, 2.0, 2**52),
        (np.finfo(float).max, np.inf, 1),
        (-np.inf, np.inf, 2 * (0x7FF0 << 48) + 1),
    ],
)
def test_ulps(a, b, ulps):
    assert measured(a, b).ulps == measured(b, a).ulps == ulps


def test_ulps_of_other_floats():
    for dtype in (np.float16, np.float32):
        one = np.array([1.0], dtype)
        assert ulps_apart(one, np.nextafter(one, dtype(2)))[0].tolist() == [1]
    assert measured(np.ones(1, np.float32), np.ones(1)).ulps == 0


def test_what_differs_of_an_array():
    a = np.zeros((3, 4))
    b = a.copy()
    b[1, 2], b[2, 3] = 1.0, 1e-9
    found = measured(a, b)
    assert (found.elements, found.at, found.relative) == (2, (1, 2), 1.0)
    assert found.pair == (0.0, 1.0)
    assert str(found.of("value", "w", 3)) == "w: 2 of 12 elements, most at [1, 2]: 0 | 1 (relative 1)"
    assert measured(a, a.copy()) is None


def test_nan_shapes_and_what_is_missing_have_no_distance():
    for a, b in ((1.0, math.nan), (np.ones(2), np.ones(3)), (None, 1.0), (np.ones(2), None)):
        found = measured(a, b)
        assert found.ulps is None
        assert str(found)
        json.dumps(found.to_dict(), allow_nan=False)
    found = measured(np.array([1.0, 5.0]), np.array([1.5, np.nan]))
    assert (found.at, found.elements, found.ulps) == ((1,), 2, None)
    assert measured(np.array([1 + 1j]), np.array([1 + 2j])).elements == 1
    assert measured(np.array([1, 2]), np.array([1, 5])).at == (1,)
    assert measured(math.inf, -math.inf).to_dict()["a"] == "inf"


def test_numbers_are_written_with_as_many_digits_as_it_takes():
    assert told_apart(0.1, 0.2) == ("0.1", "0.2")
    assert told_apart(1.0, 1.0 + 2**-52) == ("1", "1.0000000000000002")
    assert plain(np.float64(2.0)) == 2.0
    assert plain(np.int64(3)) == 3
    assert plain(1j) == "1j"


# -- frames and graphs


def frame_of(w, x=3.0, bias=False):
    w, x = Tensor(w, name="w"), Tensor(x, name="x", requires_grad=False)
    loss = (w * x - 1.0) ** 2 + (w if bias else 0.0)
    loss.backward()
    return gradviz.frame(loss)


def test_the_first_node_that_differs():
    found = diff(frame_of(2.0), frame_of(2.5))
    assert found
    assert not found.same
    assert found.first.a.name == "w"
    assert [one.born for one in found.forward] == [True, *[False] * (len(found.forward) - 1)]
    assert found.backward[0].born
    assert "the first forward is w" in str(found)
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_same_frame_is_no_difference():
    found = diff(frame_of(math.nan), frame_of(math.nan))
    assert not found
    assert found.same
    assert str(found) == "no difference"


def test_all_sources_of_a_difference_are_told():
    found = diff(frame_of(2.0, 3.0), frame_of(2.5, 4.0))
    assert {one.a.name for one in found.forward if one.born} == {"w", "x"}
    assert "so does, from nothing that differs, x" in str(found)


def test_a_gradient_alone_may_differ():
    graph = frame_of(2.0).graph
    values = frame_of(2.0).values
    one = Frame(graph, values, [1.0] * len(values))
    other = Frame(graph, values, [None, *[1.0] * (len(values) - 1)])
    found = diff(one, other)
    assert found.forward == ()
    assert found.first.found.what == "gradient"
    assert found.first.found.pair == (1.0, None)


def test_frames_of_other_structure_are_matched_by_name():
    found = diff(frame_of(2.0), frame_of(2.0, bias=True))
    assert found.structure
    assert "the graphs differ" in str(found)
    assert found.to_dict()["structure"]["same"] is False
    assert all(one.a.name == one.b.name for one in found.forward)


def test_graphs_are_compared_by_themselves():
    one, other = frame_of(2.0).graph, frame_of(2.0, bias=True).graph
    assert diff(one, other) == one.diff(other)
    assert not diff(one, one)


def test_tensors_and_paths_are_taken(tmp_path):
    w = Tensor(1.0, name="w")
    assert diff(w * 2.0, w * 3.0).first.found.pair == (2.0, 3.0)
    descent(tmp_path / "a")
    assert diff(tmp_path / "a", str(tmp_path / "a")).same


def test_things_of_different_kinds_are_refused(tmp_path):
    run = descent(tmp_path / "a")
    with pytest.raises(GradvizTypeError, match="cannot be compared"):
        diff(run, run.frame(0))
    with pytest.raises(GradvizTypeError):
        diff(3, 4)
    with pytest.raises(TraceError, match="there is no run"):
        diff("nowhere", "nowhere else")


# -- runs


def test_the_same_run_twice_is_no_difference(tmp_path):
    found = diff(descent(tmp_path / "a", meta={"note": 1}), descent(tmp_path / "b", meta={"note": 2}))
    assert not found
    assert found.same
    assert found.first is None
    assert found.step is None
    assert found.frames is None
    assert found.facts == (("meta.note", 1, 2),)
    assert "are the same: 8 steps, bit for bit" in str(found)
    assert found.to_dict()["same"] is True


def test_where_two_runs_part(tmp_path):
    found = diff(descent(tmp_path / "a", 0.01, meta={"lr": 0.01}), descent(tmp_path / "b", 0.011, meta={"lr": 0.011}))
    assert found
    assert found.step == 1
    assert (found.first.what, found.first.name, found.first.step) == ("value", "w", 1)
    assert found.loss.step == 1
    assert [one.name for one in found.parameters] == ["w", "b"]
    assert found.frames.first.a.name == "w"
    assert found.frames.steps == (1, 1)
    assert found.structure_step is None
    assert ("meta.lr", 0.01, 0.011) in found.facts
    assert "they part in step 1, by value of w" in str(found)
    assert found.final_loss == (gradviz.open_run(tmp_path / "a").loss[-1], gradviz.open_run(tmp_path / "b").loss[-1])


def test_one_ulp_is_found_and_named(tmp_path):
    found = diff(network(tmp_path / "a", level="full"), network(tmp_path / "b", level="full", bump=3))
    assert (found.first.name, found.first.what, found.step) == ("W", "value", 4)
    assert (found.first.ulps, found.first.at, found.first.elements) == (1, (1, 7), 1)
    assert found.frames.first.a.name == "W"
    assert found.parameters[0].is_norm
    json.dumps(found.to_dict(), allow_nan=False)


def test_inputs_that_change_later_are_the_same_bit_for_bit(tmp_path):
    def batches(path):
        w = Tensor(1.0, name="w")
        with gradviz.trace(path, params={"w": w}) as log:
            for step in range(4):
                w.zero_grad()
                x = np.full(3, float(step))
                loss = ((w * x - 1) ** 2).mean()
                loss.backward()
                log.step(loss)
        return gradviz.open_run(path)

    found = diff(batches(tmp_path / "a"), batches(tmp_path / "b"))
    assert len(found.parameters) == 2
    assert "are the same: 4 steps, bit for bit" in str(found)


def test_blocks_make_no_difference(tmp_path, monkeypatch):
    a, b = network(tmp_path / "a", level="full"), network(tmp_path / "b", level="full", bump=6)
    whole = diff(a, b).to_dict()
    monkeypatch.setattr("gradviz.tracing.lockstep.BLOCK_BYTES", 1)
    assert diff(a, b).to_dict() == whole


LEVELS = ("full", "scalars", "stats")


@pytest.mark.parametrize("one", LEVELS)
@pytest.mark.parametrize("other", LEVELS)
def test_every_level_is_compared_with_every_other(tmp_path, one, other):
    a = network(tmp_path / "a", level=one)
    same, moved = network(tmp_path / "b", level=other), network(tmp_path / "c", level=other, rng=1)
    equal = diff(a, same)
    assert equal.same
    exact = one == other == "full"
    assert ("bit for bit" if exact else "in all that both recorded: of 2 of 2 parameters") in str(equal)
    assert {p.form for p in equal.parameters} <= ({"exact"} if exact else {"norm", "stats"})
    found = diff(a, moved)
    assert found.step == 0
    assert {p.value.step for p in found.parameters} == {0}
    form = {"full": "exact", "scalars": "norm", "stats": "stats"}
    assert found.first.form == ("norm" if "scalars" in {one, other} else form[one] if one == other else "stats")
    assert str(found)


def test_checkpointed_runs_are_compared_by_checksums(tmp_path):
    def large(path, bump=None):
        weights = Tensor(np.random.default_rng(0).normal(size=9000), name="W")
        with gradviz.trace(path, params={"W": weights}, checkpoint=4) as log:
            for step in range(10):
                weights.zero_grad()
                loss = (weights * weights).mean()
                loss.backward()
                log.step(loss)
                new = weights.data - 0.1 * weights.grad
                if step == bump:
                    new[3] = np.nextafter(new[3], np.inf)
                weights.data = new
        return gradviz.open_run(path)

    a, b = large(tmp_path / "a"), large(tmp_path / "b", bump=5)
    assert diff(a, large(tmp_path / "c")).same
    found = diff(a, b)
    assert found.step == 6
    assert found.first.form == "digest"
    assert "the checksums differ" in str(found)


def test_lengths_steps_and_names(tmp_path):
    a = recorded(tmp_path / "a", [(k, 1.0, {"w": (1.0, 1.0), "u": (0.0, 0.0)}) for k in (0, 1, 2, 5)])
    b = recorded(tmp_path / "b", [(k, 1.0, {"w": (1.0, 1.0), "v": (0.0, 0.0)}) for k in (0, 1, 2, 3)])
    found = diff(a, b)
    assert found
    assert found.step is None
    assert found.only == ((5,), (3,))
    assert found.names == (("u",), ("v",))
    assert found.common == 3
    assert "all that both have is the same" in str(found)
    assert not diff(a, a[:2]).same
    assert diff(a[:0], a[:0]).same
    assert "no step in common" in str(diff(a[:1], b[3:]))


def test_nan_from_the_same_step_on_is_the_same(tmp_path):
    rows = [(1.0, {"w": (1.0, 1.0)}), (math.nan, {"w": (math.nan, math.inf)})]
    assert diff(recorded(tmp_path / "a", rows), recorded(tmp_path / "b", rows)).same
    found = diff(recorded(tmp_path / "c", rows), recorded(tmp_path / "d", [rows[0], (2.0, {"w": (2.0, 1.0)})]))
    assert found.loss.ulps is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_gradient_that_one_run_has_and_the_other_not(tmp_path):
    a = recorded(tmp_path / "a", [(1.0, {"w": (1.0, 1.0)}), (1.0, {"w": (1.0, 1.0)})])
    b = recorded(tmp_path / "b", [(1.0, {"w": (1.0, 1.0)}), (1.0, {"w": (1.0, None)})])
    found = diff(a, b)
    assert (found.first.what, found.first.step, found.first.pair) == ("gradient", 1, (1.0, None))


def test_shapes_that_differ_or_change(tmp_path):
    def sized(path, *sizes):
        return recorded(path, [(1.0, {"w": (np.ones(n), np.ones(n))}) for n in sizes])

    a, b = sized(tmp_path / "a", 2, 3, 3), sized(tmp_path / "b", 2, 3, 4)
    assert diff(a, sized(tmp_path / "c", 2, 3, 3)).same
    found = diff(a, b)
    assert (found.step, found.first.name) == (2, "w")
    assert "array 3" in str(found)
    assert comparison.page(found)


def test_structures_that_differ(tmp_path):
    def run(path, power):
        w = Tensor(2.0, name="w")
        with gradviz.trace(path, params={"w": w}) as log:
            for step in range(4):
                w.zero_grad()
                loss = w**2 if step < 2 else w**power
                loss.backward()
                log.step(loss)
        return gradviz.open_run(path)

    found = diff(run(tmp_path / "a", 2), run(tmp_path / "b", 3))
    assert found.structure_step is None or found.structure_step == 2
    assert found.step == 2
    sine = Tensor(2.0, name="w")
    with gradviz.trace(tmp_path / "c", params={"w": sine}) as log:
        loss = np.sin(sine)
        loss.backward()
        log.step(loss)
    found = diff(gradviz.open_run(tmp_path / "a"), gradviz.open_run(tmp_path / "c"))
    assert found.structure_step == 0
    assert found.structure
    assert "the graphs differ" in str(found)
    assert "are not the same" in comparison.page(found)


def test_a_run_without_graphs_and_one_with(tmp_path):
    a = recorded(tmp_path / "a", [(1.0, {"w": (2.0, 4.0)})])
    w = Tensor(2.0, name="w")
    with gradviz.trace(tmp_path / "b", params={"w": w}) as log:
        loss = w**2
        loss.backward()
        log.step(loss)
    found = diff(a, gradviz.open_run(tmp_path / "b"))
    assert found.structure_step == 0
    assert "one run has no graph" in str(found)
    assert comparison.page(found)


def test_changing_inputs_are_compared_where_both_have_recorded_them(tmp_path):
    def run(path, seed, restart=False):
        w = Tensor(1.0, name="w")
        rng = np.random.default_rng(seed)
        with gradviz.trace(path, params={"w": w}) as log:
            for step in range(6):
                batch = Tensor(rng.normal(size=4) if step > 2 else np.ones(4) + step, name="batch", requires_grad=False)
                w.zero_grad()
                loss = ((w * batch) ** 2).mean() if step != 4 or not restart else ((w * batch) ** 2).sum()
                loss.backward()
                log.step(loss)
        return gradviz.open_run(path)

    assert diff(run(tmp_path / "a", 0), run(tmp_path / "b", 0)).same
    found = diff(gradviz.open_run(tmp_path / "a"), run(tmp_path / "c", 1))
    assert (found.first.what, found.first.name, found.step) == ("input", "batch", 3)
    restarted = diff(gradviz.open_run(tmp_path / "a"), run(tmp_path / "d", 0, restart=True))
    assert restarted.step == 4
    assert all(one.what != "input" for one in restarted.differences)


def test_a_parameter_that_one_run_has_later(tmp_path):
    def run(path, late):
        held = {"w": Holder()}
        with gradviz.trace(path, params=held) as log:
            for step in range(4):
                if step == late:
                    held["u"] = Holder()
                log.step(1.0)
        return gradviz.open_run(path)

    found = diff(run(tmp_path / "a", 2), run(tmp_path / "b", 3))
    assert [(one.name, one.value and one.value.step) for one in found.parameters] == [("w", None), ("u", 2)]
    assert "not in both" in comparison.page(found)


# -- the page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    found = diff(descent(folder / "a", 0.01, meta={"lr": 0.01}), descent(folder / "b", 0.011, steps=6))
    return found.save(folder / "diff.html")


def test_the_page_is_whole_and_refers_to_nothing_outside(page):
    text = page.read_text("utf-8")
    reader = Reader(text)
    policy = next(attrs["content"] for attrs in reader.of("meta") if "http-equiv" in attrs)
    for kind in ("script", "style"):
        wanted = {
            f"'sha256-{base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()}'"
            for tag, attrs, inner in reader.raw
            if tag == kind and "type" not in attrs
        }
        rule = next(rule for rule in policy.split("; ") if rule.startswith(f"{kind}-src"))
        assert set(rule.split()[1:]) == wanted
    assert "default-src 'none'" in policy
    for tag, attrs in reader.elements:
        assert tag not in {"a", "img", "image", "link", "iframe", "object", "embed", "base", "use", "form"}
        assert not [name for name in attrs if name.startswith("on") or name in {"href", "src", "style"}]
    assert "http" not in re.sub(r'xmlns="[^"]*"|http-equiv', "", text)


def test_the_page_can_be_read_without_scripts(page):
    reader = Reader(page.read_text("utf-8"))
    texts = " ".join(text for _, text in reader.texts)
    for said in (
        "Two runs that part in step 1",
        "About the runs",
        "meta.lr",
        "Loss",
        "The graph of step 1",
        "Parameters",
    ):
        assert said in texts
    assert len(reader.of("svg")) == 6
    assert len([attrs for attrs in reader.of("figure") if "data-chart" in attrs]) == 4
    ids = [attrs["id"] for _, attrs in reader.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert "gv-highlighted" in page.read_text("utf-8")


def test_the_same_comparison_gives_the_same_page(tmp_path):
    a, b = descent(tmp_path / "a"), descent(tmp_path / "b", 0.2)
    assert comparison.page(diff(a, b)) == comparison.page(diff(a, b))


def test_hostile_names_and_notes_are_text(tmp_path):
    names = [name for name in HOSTILE if name.strip()][:20]
    rows = [dict.fromkeys(names, (1.0 + k, 1.0)) for k in range(3)]
    a = recorded(tmp_path / "a", [(1.0, row) for row in rows], meta={"<script>": "<img src=x>"})
    moved = [dict.fromkeys(names, (1.5, 1.0)), *rows[1:]]
    b = recorded(tmp_path / "b", [(1.0, row) for row in moved], meta={"<script>": "</script>"})
    found = diff(a, b)
    text = comparison.page(found, ("<a>", "</title>"))
    reader = Reader(text)
    assert [tag for tag, _ in reader.elements if tag in {"b", "i", "img", "port"}] == []
    assert len(reader.of("script")) == 2
    assert clean("<script>", 80) in {inner.removeprefix("meta.") for _, inner in reader.texts}
    for line in str(found).splitlines():
        assert clean(line, None) == line


def test_a_page_of_two_frames_and_of_nothing_that_differs(tmp_path):
    run = descent(tmp_path / "a")
    two = diff(run.frame(0), run.frame(1)).save(tmp_path / "two.html").read_text("utf-8")
    assert "A, step 0" in two
    assert "▸ is where a difference begins" in two
    assert '<tr class="born">' in two
    same = diff(run, run).save(tmp_path / "same.html").read_text("utf-8")
    assert "The same, bit for bit" in same
    assert "they part" not in same


def test_large_graphs_are_drawn_around_the_first_difference(tmp_path):
    def chain(path, start):
        w = Tensor(start, name="w")
        y = w * 1.0
        for i in range(3000):
            y = np.sin(y) if i % 2 else y + 0.01
        with gradviz.trace(path, params={"w": w}) as log:
            y.backward()
            log.step(y)
        return gradviz.open_run(path)

    text = comparison.page(diff(chain(tmp_path / "a", 1.0), chain(tmp_path / "b", 1.1)))
    assert "what lies up to 3 edges from that node is drawn" in text
    assert re.search(r"and [\d,]+ more", text)
    assert len(text) < 400_000


def test_curves_are_thinned_and_keep_what_stands_out():
    steps = np.arange(50_000)
    numbers = np.zeros(50_000)
    numbers[[0, 777, 40_000, 49_999]] = 1.0, 5.0, -3.0, 2.0
    kept, heights = thinned(steps, numbers, keep=1234)
    assert len(kept) <= 610
    assert {0, 777, 1234, 40_000, 49_999} <= set(kept.tolist())
    assert (heights.max(), heights.min()) == (5.0, -3.0)
    assert thinned(np.arange(3), np.array([1.0, np.nan, 2.0]))[0].tolist() == [0, 2]


def test_a_long_run_makes_a_small_page(tmp_path):
    rows = [(1.0 / (k + 1), {"w": (math.sin(k), math.cos(k))}) for k in range(5000)]
    a = recorded(tmp_path / "a", rows)
    b = recorded(tmp_path / "b", [*rows[:2500], *((loss + 1e-9, numbers) for loss, numbers in rows[2500:])])
    found = diff(a, b)
    assert (found.first.what, found.step) == ("loss", 2500)
    assert len(comparison.page(found)) < 200_000


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as play:
        opened = play.chromium.launch(**chromium())
        yield opened
        opened.close()


def chromium():
    """Return how to start a Chromium: the one of the system if there is one."""
    import shutil

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return {"executable_path": found, "args": ["--no-sandbox"]} if found else {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_in_a_browser(browser, page, scheme, width):
    tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(page.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    chart = tab.locator("figure[data-chart]").first
    chart.focus()
    tab.keyboard.press("ArrowRight")
    assert chart.locator("output").text_content().startswith("step 0: A ")
    tab.keyboard.press("End")
    assert re.fullmatch(r"step 7: A [\d.]+, B nothing", chart.locator("output").text_content())
    chart.locator("svg").hover(position={"x": 80, "y": 60})
    assert re.match(r"step \d+: A [\d.e-]+, B ", chart.locator("output").text_content())
    assert said == []
    tab.close()


def test_it_reads_well_to_those_who_do_not_see(browser, page):
    from axe_playwright_python.sync_playwright import Axe

    for scheme in ("light", "dark"):
        tab = browser.new_page(viewport={"width": 1400, "height": 800}, color_scheme=scheme, bypass_csp=True)
        tab.goto(page.as_uri())
        found = Axe().run(tab).response["violations"]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found] == []
        tab.close()


# -- the verb


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    descent(folder / "a", 0.01)
    descent(folder / "b", 0.011)
    descent(folder / "c", 0.01)
    return folder


def test_the_verb_tells_and_its_status_says_whether_they_differ(runs, capsys):
    assert cli.main(["diff", str(runs / "a"), str(runs / "b")]) == 1
    assert "they part in step 1" in capsys.readouterr().out
    assert cli.main(["diff", str(runs / "a"), str(runs / "c")]) == 0
    assert "are the same" in capsys.readouterr().out


def test_the_verb_gives_json(runs, capsys):
    assert cli.main(["diff", str(runs / "a"), str(runs / "b"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["step"], found["first"]["name"], found["same"]) == (1, "w", False)


def test_the_verb_writes_a_page(runs, capsys, tmp_path):
    assert cli.main(["diff", str(runs / "a"), str(runs / "b"), "-o", str(tmp_path / "d.html")]) == 1
    assert str(runs / "b") in (tmp_path / "d.html").read_text("utf-8")
    assert "wrote" in capsys.readouterr().err
    assert cli.main(["diff", f"{runs / 'a'}:1", f"{runs / 'b'}:2", "-o", "-"]) == 1
    assert capsys.readouterr().out.startswith("<!doctype html>")


def test_the_verb_compares_two_steps(runs, capsys):
    assert cli.main(["diff", f"{runs / 'a'}:1", f"{runs / 'a'}:2"]) == 1
    assert "the first forward is w" in capsys.readouterr().out
    assert cli.main(["diff", f"{runs / 'a'}:1", f"{runs / 'c'}:1"]) == 0
    assert cli.main(["diff", f"{runs / 'a'}:-1", f"{runs / 'a'}:7"]) == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["A", "A:1"], "a run and a step cannot be compared"),
        (["A", "A", "-o", "d.svg"], "the comparison is a page"),
        (["A", "A", "--json", "-o", "-"], "both JSON and a page"),
        (["A:99", "A:1"], "there is no step 99"),
        (["A", "nowhere"], "there is no run"),
    ],
)
def test_a_wrong_line_is_told(runs, capsys, line, said):
    assert cli.main(["diff", *(word.replace("A", str(runs / "a"), 1) for word in line)]) == 2
    assert said in capsys.readouterr().err


def test_beside_nan_no_number_is_relatively_near():
    for a, b in [(1.0, np.nan), (np.array([1.0, 2.0]), np.array([1.0, np.nan]))]:
        found = measured(a, b)
        assert found.relative is None
        assert "relative" not in found.told
    assert measured(np.array([np.nan, 1.0]), np.array([np.nan, 2.0])).relative == 0.5
