"""Where to stop: every form of WHERE, at exactly the right places, forwards and backwards."""

import numpy as np
import pytest

import gradviz
from gradviz import Tensor
from gradviz.debugger.conditions import condition
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.positions import Position
from gradviz.errors import GradvizError, GradvizTypeError, UnknownNameError
from gradviz.graphs import Frame, Graph, Node, Source
from tests.runs import recorded


def places(d, where, only_if=None):
    """Return where a breakpoint stops on the way from the first event to the last, as text; the same back again."""
    d.clear()
    d.seek(it=d.timeline.iterations[0])
    made = d.break_at(where, only_if)
    there = [str(place) for place in stops(d, d.run)]
    end = str(d.where)
    back = [str(place) for place in stops(d, d.run_back)]
    start = str(d.where)
    assert [place for place in there if place != end] == [place for place in back[::-1] if place != start]
    d.clear(made.number)
    return sorted({*there, *back}, key=lambda text: Position.parse(text).order)


def stops(d, move):
    found = []
    while move() and d.stop.breakpoint is not None:
        found.append(d.where)
    return found


def frames():
    """Four iterations of y = log(x * w): in the last one x * w is negative, and the gradient of x is zero in two."""
    nodes = (
        Node(0, "w", "param", "param", scope=("enc",)),
        Node(1, "x", "input", "input"),
        Node(2, "m", "mul", "op", (0, 1), scope=("enc", "l1"), source=Source("lib/net.py", 12)),
        Node(3, "y", "log", "op", (2,), scope=("enc",), source=Source("train.py", 12)),
        Node(4, "loss", "neg", "op", (3,), source=Source("train.py", 13)),
    )
    graph = Graph(nodes, (4,)).check()
    made = []
    for step, (w, x) in enumerate([(1.0, 2.0), (2.0, 0.0), (70_000.0, 4.0), (-1.0, 3.0)]):
        with np.errstate(all="ignore"):
            y = np.log(w * x)
            up = -1 / np.float64(w * x)
            made.append(Frame(graph, [w, x, w * x, y, -y], [x * up, None, up, -1.0, 1.0], None, step))
    return made


def a_debugger():
    return Debugger(frames())


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("y", ["f.3", "b.1"]),
        ("m", ["f.2", "b.2"]),
        ("[my]", ["f.2", "f.3", "b.1", "b.2"]),
        ("enc.l1.*", ["f.2", "b.2"]),
        ("enc.y", ["f.3", "b.1"]),
        ("op:log", ["f.3", "b.1"]),
        ("op:[ln]*g", ["f.3", "f.4", "b.0", "b.1"]),
        ("op:sin", []),
        ("scope:enc", ["f.0", "f.2", "f.3", "b.1", "b.2", "b.3", "u.0"]),
        ("scope:enc.*", ["f.2", "b.2"]),
        ("scope:dec", []),
        ("train.py:12", ["f.3", "b.1"]),
        ("net.py:12", ["f.2", "b.2"]),
        ("lib/net.py:12", ["f.2", "b.2"]),
        ("et.py:12", []),
        (":12", ["f.2", "f.3", "b.1", "b.2"]),
        (":99", []),
        ("b.2", ["b.2"]),
        ("u.0", ["u.0"]),
        ("f.77", []),
        ("y.grad", ["b.1"]),
        ("w.value", ["f.0", "u.0"]),
    ],
)  # fmt: skip
def test_places_of_every_iteration(where, wanted):
    found = places(a_debugger(), where)
    assert found == [f"{k}.{place}" for k in range(4) for place in wanted if (k, place) != (3, "u.0")]


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("2.b.3", ["2.b.3"]),
        ("2.u", ["2.u.0"]),
        ("9.b.3", []),
        ("nan", ["1.b.3", "3.f.3"]),
        ("inf", ["1.f.3", "1.b.2"]),
        ("zero:x", ["1.f.1"]),
        ("zero:m", ["1.f.2"]),
        ("zero:y.grad", []),
        ("over:float16", ["1.f.3", "1.f.4", "1.u.0", "2.f.0", "2.f.2"]),
        ("over:fp32", ["1.f.3", "1.f.4"]),
        ("over:bf16", ["1.f.3", "1.f.4"]),
        ("loss up 1", ["1.f.4"]),
        ("loss up 2", []),
        ("structure", []),
        ("abs(w.grad) < 1e-3", ["2.b.3"]),
        ("norm(w.grad) > 1e9", []),
        ("w > 1", ["0.u.0", "1.f.0", "1.u.0", "2.f.0"]),
        ("w.grad > 0 and w < 0", ["3.b.3"]),
        ("y != y", ["3.f.3"]),
        ("w > 2 and x == 4", ["2.f.1"]),
        ("iteration == 2", ["2.f.0"]),
        ("phase == 'backward'", ["0.b.0", "1.b.0", "2.b.0", "3.b.0"]),
        ("op == 3", [f"{k}.{place}" for k in range(4) for place in ("f.3", "b.3")]),
        ("update > 100", ["1.u.0"]),
        ("param == 1 and update == 1", ["0.u.0"]),
        ("ratio(update / param) > 10", ["1.u.0"]),
        ("ratio(update / param) > 1e9", []),
        ("isnan(loss)", ["3.f.4"]),
        ("w@0 < w", ["0.u.0", "1.f.0", "1.u.0", "2.f.0"]),
    ],
)  # fmt: skip
def test_places_of_the_history(where, wanted):
    assert places(a_debugger(), where) == wanted


def test_a_condition_on_no_node_stops_where_it_begins_to_hold():
    graph = Graph(tuple(Node(i, f"n{i}", "input", "input") for i in range(5)), (4,))
    d = Debugger([Frame(graph, [loss] * 5, [None] * 5, None, k) for k, loss in enumerate([0.0, 2.0, 1.0, 3.0])])
    assert places(d, "loss >= 1") == ["1.f.4", "2.f.4", "3.f.4"]
    assert places(d, "op > 2") == ["0.f.3", "1.f.3", "2.f.3", "3.f.3"]
    d.seek("2.f.4")
    d.break_at("op > 2")
    assert [str(d.run()), str(d.run_back()), str(d.run_back())] == ["3.f.3", "2.f.3", "1.f.3"]


def test_functions_and_positions():
    d = a_debugger()
    assert places(d, lambda event: event.node.name == "y" and event.phase == "forward") == [
        f"{k}.f.3" for k in range(4)
    ]
    assert places(d, Position(1, "backward", 2)) == ["1.b.2"]
    assert places(d, lambda event: np.array([0.0])) == []
    assert repr(condition(" nan ", d)) == "Condition('nan')"
    assert condition(condition("nan", d), d).text == "nan"


def test_a_breakpoint_that_also_wants_something():
    assert places(a_debugger(), "y", "w > 1") == ["1.f.3", "1.b.1", "2.f.3", "2.b.1"]
    assert places(a_debugger(), "y", "w.grad < 0") == []


def test_structures_of_a_run(tmp_path):
    d = Debugger(gradviz.open_run(recorded("structures", tmp_path / "run", steps=10)))
    assert places(d, "structure") == ["3.f.0", "4.f.0", "8.f.0", "9.f.0"]
    names = {node.name for node in d.timeline.steps(3).full.graph} - {
        node.name for node in d.timeline.steps(0).full.graph
    }
    for name in names:
        assert places(d, name)[0].startswith("3.")
        assert places(d, f"norm({name}) > -1")[0].startswith("3.f")
        assert d.first(f"norm({name}) > -1").iteration == 3
        assert d.watch(name)
    assert names


HOSTILE = [
    "a:b", "x > 1", "nan", "inf", "structure", "op:log", "scope:x", "zero:x", "µ", "layers[0].W", "b.3", "3.f.1", "f",
    "train.py:12", ":12", "loss up 5", "a*", "w.grad", "np", "loss", "iteration", "(", "`", " ", "", "x\ny",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_nodes_of_any_name_can_be_stopped_at(name):
    nodes = Node(0, name, "param", "param"), Node(1, "other", "input", "input"), Node(2, "y", "mul", "op", (0, 1))
    frame = Frame(Graph(nodes, (2,)), [1.0, 2.0, 2.0], [2.0, None, 1.0])
    d = Debugger([frame, frame])
    wanted = ["0.f.0", "0.b.1", "0.u.0", "1.f.0", "1.b.1"]
    assert places(d, f"`{name}`") == wanted
    if name not in {"nan", "inf", "structure", "b.3", "3.f.1", "", " "}:
        assert places(d, name) == (wanted if name.strip() else [])
    if "`" not in name and name:
        assert places(d, f"`{name}`.grad > 1") == ["0.b.1", "1.b.1"]
        assert places(d, f"zero:`{name}`") == []
    if name == "layers[0].W":
        assert places(d, "layers[0].*") == wanted


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("yy", "did you mean y"),
        ("losss > 1", "did you mean loss"),
        ("norm(lss.grad) > 1", "did you mean loss"),
        ("zero:losss.grad", "did you mean loss"),
        ("`losss`", "did you mean loss"),
        ("nrom(w) > 1", "did you mean norm"),
        ("w.gard > 1", "did you mean grad"),
        ("over:float17", "floating-point dtype"),
        ("over:int8", "floating-point dtype"),
        ("w@99 > 1", "no iteration 99"),
        ("np.save(w) > 1", "np.save cannot be used"),
        ("w >", "is no expression"),
        ("(lambda: w)()", "only a function is called"),
        ("", "nothing to stop for"),
        (None, "nothing to stop for"),
        (3, "nothing to stop for"),
    ],
)
def test_what_means_nothing_is_told_at_once(where, message):
    d = a_debugger()
    for attempt in (d.break_at, d.run, d.run_back):
        before = d.where
        if attempt != d.break_at and where is None:
            continue
        with pytest.raises(GradvizError) as caught:
            attempt(where)
        assert message in str(caught.value), str(caught.value)
        assert d.where == before
    assert not d.breakpoints


def test_only_if_is_read_at_once_too():
    d = a_debugger()
    with pytest.raises(UnknownNameError):
        d.break_at("y", "wieght > 1")
    with pytest.raises(GradvizTypeError):
        d.break_at(["y"])


@pytest.mark.parametrize(
    "text",
    [
        "loss > 0", "w > 2", "w.grad < -1", "norm(w.grad) > 1", "iteration >= 2", "np.abs(w) > 3", "not w < 2",
        "w > 1 and loss > 0", "isfinite(loss)", "w is None", "x > 3", "w.grad != 3",
    ],
)  # fmt: skip
def test_first_finds_with_columns_what_it_finds_without(text, tmp_path):
    w, x = Tensor(1.0, name="w"), Tensor(3.5, name="x", requires_grad=False)
    with gradviz.trace(tmp_path / "run", params={"w": w}) as t:
        for k in range(6):
            loss = w * w - 5.0 if k % 2 else w * x - 5.0
            w.grad = None
            loss.backward()
            t.step(loss)
            w.data = w.data + 0.5
    run = gradviz.open_run(tmp_path / "run")
    found = Debugger(run).first(text)
    assert found == Debugger([run.frame(step) for step in run.steps.tolist()]).first(text)
