"""What `trace` records, of Tensors and of anything that has ``data`` and ``grad``."""

import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import gradviz
from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.graphs.plain import same_bits
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from tests.params import Param

X = np.linspace(0.0, 1.0, 20)
Y = 3 * X + 1


def fit(path, steps=10, lr=0.5, **options):
    """Fit a line and trace it; return what the loop itself saw."""
    w, b = gradviz.Tensor(0.5, name="w"), gradviz.Tensor(-1.0, name="b")
    seen = []
    with trace(path, **{"params": {"w": w, "b": b}, **options}) as t:
        for _ in range(steps):
            w.zero_grad()
            b.zero_grad()
            loss = ((w * X + b - Y) ** 2).sum() / len(X)
            loss.backward()
            t.step(loss)
            seen.append((loss.item(), w.data, w.grad, b.data, b.grad, gradviz.sources.frame(loss)))
            w.data = w.data - lr * w.grad
            b.data = b.data - lr * b.grad
    return seen


def test_tensors_are_recorded(tmp_path):
    seen = fit(tmp_path / "run")
    run = open_run(tmp_path / "run")
    recorded = zip(run.loss, run["w"].value, run["w"].grad, run["b"].value, run["b"].grad, strict=True)
    assert [tuple(map(float, row)) for row in recorded] == [row[:5] for row in seen]
    assert run.graph.fingerprint() == seen[0][5].graph.fingerprint()
    assert len(run.graphs) == 1


def test_every_step_comes_back_as_a_frame(tmp_path):
    seen = fit(tmp_path / "run")
    run = open_run(tmp_path / "run")
    for step in (0, 4, 9, -1):
        frame, truth = run.frame(step), seen[step][5]
        assert frame.step == step % 10
        assert frame.meta["replay"] == "exact"
        assert all(same_bits(a, b) for a, b in zip(frame.values, truth.values, strict=True))
        assert all(same_bits(a, b) for a, b in zip(frame.grads, truth.grads, strict=True))
        for src, dst, arg in truth.graph.edges:
            assert same_bits(frame.edge_grad(src, dst, arg), truth.edge_grad(src, dst, arg))


def test_parameters_are_found_in_the_graph(tmp_path):
    seen = fit(tmp_path / "run", params=None)
    run = open_run(tmp_path / "run")
    assert set(run.names) == {"w", "b"}
    assert run["b"].grad.tolist() == [row[4] for row in seen]
    assert run.frame(5).meta["replay"] == "exact"


def test_new_parameters_at_every_step(tmp_path):
    """A program in the functional style makes new Tensors instead of changing the old ones."""
    params = {"w": gradviz.Tensor(0.0)}
    with trace(tmp_path / "given", params=params) as given, trace(tmp_path / "found") as found:
        for _ in range(5):
            w = params["w"]
            loss = (w - 3.0) ** 2
            loss.backward()
            given.step(loss)
            found.step(loss)
            params["w"] = gradviz.Tensor(w.data - 0.25 * w.grad)
    expected = [0.0, 1.5, 2.25, 2.625, 2.8125]
    assert open_run(tmp_path / "given")["w"].value.tolist() == expected
    run = open_run(tmp_path / "found")
    assert run["w"].value.tolist() == expected
    assert len(run.graphs) == 1


def test_array_parameters(tmp_path):
    rng = np.random.default_rng(0)
    W, b = gradviz.Tensor(rng.standard_normal((30, 40))), gradviz.Tensor(rng.standard_normal(40).astype("f4"))
    x = rng.standard_normal((8, 30))
    seen = []
    with trace(tmp_path / "run", params={"W": W, "b": b}) as t:
        for _ in range(4):
            W.zero_grad()
            b.zero_grad()
            loss = ((x @ W + b) ** 2).sum()
            loss.backward()
            t.step(loss)
            seen.append((W.data.copy(), W.grad.copy(), b.data.copy(), b.grad.copy()))
            W.data = W.data - 1e-3 * W.grad
            b.data = b.data - np.float32(1e-3) * b.grad
    run = open_run(tmp_path / "run")
    assert run.damage == []
    for i, column in enumerate((run["W"].value, run["W"].grad, run["b"].value, run["b"].grad)):
        assert same_bits(column, np.array([row[i] for row in seen]))
    assert run.frame(2).meta["replay"] == "exact"
    assert same_bits(run.frame(2).value("W"), seen[2][0])


def test_recording_changes_nothing(tmp_path):
    """The same losses with and without a trace."""
    traced = fit(tmp_path / "run")
    w, b = gradviz.Tensor(0.5), gradviz.Tensor(-1.0)
    for row in traced:
        w.zero_grad()
        b.zero_grad()
        loss = ((w * X + b - Y) ** 2).sum() / len(X)
        loss.backward()
        assert loss.item() == row[0]
        w.data = w.data - 0.5 * w.grad
        b.data = b.data - 0.5 * b.grad


def test_changing_structures_get_segments_of_their_own(tmp_path):
    w = gradviz.Tensor(2.0, name="w")
    order = [0, 1, 0, 2, 1, 0, 2, 2]
    with trace(tmp_path / "run", params={"w": w}) as t:
        for depth in order:
            w.zero_grad()
            loss = w * 1.0
            for _ in range(depth):
                loss = loss * w
            loss.backward()
            t.step(loss)
            w.data = w.data + 1.0
    run = open_run(tmp_path / "run")
    assert run.damage == []
    assert [len(run.frame(step).graph.find(op="mul")) for step in range(8)] == [depth + 1 for depth in order]
    assert run["w"].value.tolist() == [2.0 + i for i in range(8)]
    assert run.loss.tolist() == [(2.0 + i) ** (depth + 1) for i, depth in enumerate(order)]
    assert len(run.graphs) == 3
    assert sorted(path.name for path in (tmp_path / "run").glob("*.npy")) == [
        "index.npy", "leaves-0000.npy", "leaves-0001.npy", "leaves-0002.npy",
        "seg-0000.npy", "seg-0001.npy", "seg-0002.npy",
    ]  # fmt: skip
    index = np.load(tmp_path / "run" / "index.npy")
    assert index["segment"].tolist() == order
    assert index["step"].tolist() == list(range(8))
    (tmp_path / "run" / "index.npy").unlink()
    repaired = open_run(tmp_path / "run")
    assert repaired.loss.tolist() == run.loss.tolist()
    assert "index.npy: missing" in repaired.damage


def test_many_structures_do_not_exhaust_open_files(tmp_path):
    w = Param(None)
    with trace(tmp_path / "run", params={"w": w}) as t:
        for i in range(120):
            w.data = np.zeros(i % 60)
            t.step(float(i))
    run = open_run(tmp_path / "run")
    assert run.loss.tolist() == list(map(float, range(120)))
    assert run[60:61]["w"].value.shape == (1, 0)
    assert run[119:]["w"].value.shape == (1, 59)
    with pytest.raises(GradvizValueError, match="the shape of 'w' changes"):
        run["w"].value


def test_changed_shapes_and_dtypes_are_kept_apart(tmp_path):
    w = Param(0.0, 0.0)
    values = [0.0, 1, np.float32(0.5), np.array([1.0]), np.array(2.0), np.float64(3.0), True, 2**60 + 1]
    with trace(tmp_path / "run", params={"w": w}) as t:
        for value in values:
            w.data = value
            t.step(1.0)
    rows = open_run(tmp_path / "run").to_rows()
    assert [np.asarray(row["w"]).tolist() for row in rows] == [0.0, 1.0, 0.5, [1.0], 2.0, 3.0, True, 2**60 + 1]


def test_names_may_be_anything(tmp_path):
    names = ["größe", "权重", "step", "loss", "a.grad", "a", "", "<script>", "x\ud800", "\N{RIGHT-TO-LEFT OVERRIDE}"]
    with trace(tmp_path / "run", params={name: Param(float(i), -float(i)) for i, name in enumerate(names)}) as t:
        t.step(1.0)
        t.step(1.0)
    run = open_run(tmp_path / "run")
    assert run.names == tuple(names)
    assert [run[name].value.tolist() for name in names] == [[float(i)] * 2 for i in range(len(names))]
    assert [run[name].grad[1] for name in names] == [-float(i) for i in range(len(names))]
    assert run.frame(0).value("权重") == 1.0


def test_hundreds_of_scalar_parameters(tmp_path):
    params = {f"p[{i}]": Param(float(i), float(-i)) for i in range(337)}
    params["p[7]"].grad = None
    with trace(tmp_path / "run", params=params) as t:
        for _ in range(3):
            t.step(0.5)
    run = open_run(tmp_path / "run")
    assert run["p[300]"].value.tolist() == [300.0] * 3
    assert run["p[300]"].grad.tolist() == [-300.0] * 3
    assert run["p[7]"].grad.mask.all()
    assert np.load(tmp_path / "run" / "seg-0000.npy")["scalars"].shape == (3, 674)


def test_a_list_of_parameters_and_plain_objects(tmp_path):
    named = gradviz.Tensor(1.0, name="w")
    with trace(tmp_path / "run", params=[named, SimpleNamespace(data=2.0, grad=0.5)]) as t:
        t.step(np.float32(0.25))
        t.step(3)
        t.step(np.array([1.5]))
    run = open_run(tmp_path / "run")
    assert run.names == ("w", "p1")
    assert run.loss.tolist() == [0.25, 3.0, 1.5]


def test_only_norms_of_arrays(tmp_path):
    W, w = Param(np.array([3.0, -4.0]), None), Param(-2.0, np.float32(0.5))
    with trace(tmp_path / "run", params={"W": W, "w": w}, level="scalars") as t:
        t.step(1.0)
        W.data, W.grad = np.zeros((100, 100)), np.ones((100, 100))
        t.step(1.0)
    run = open_run(tmp_path / "run")
    assert run["W"].norm.tolist() == [5.0, 0.0]
    assert run["W"].grad_norm.tolist() == [None, 100.0]
    assert run["w"].value.tolist() == [-2.0, -2.0]
    assert run["w"].grad.tolist() == [0.5, 0.5]
    with pytest.raises(GradvizValueError, match="only the norm of 'W' was recorded"):
        run["W"].value
    assert run.to_rows()[1]["W.norm"] == 0.0
    assert "norm 0" in run.summary()


def test_a_changing_input_goes_on_in_a_segment_of_its_own(tmp_path):
    w = gradviz.Tensor(2.0, name="w")
    with trace(tmp_path / "run", params={"w": w}) as t:
        for batch in (1.0, 5.0, 6.0):
            w.zero_grad()
            loss = (w * batch) ** 2
            loss.backward()
            t.step(loss)
    first, later = (np.load(tmp_path / "run" / f"seg-000{i}.npy") for i in (0, 1))
    assert first.dtype.names == ("step", "time", "flags", "checksum", "loss", "w", "w.grad")
    assert later.dtype.names[5:] == ("w", "w.grad", "const_1.input")
    assert later["const_1.input"].tolist() == [5.0, 6.0]
    lines = [json.loads(line) for line in (tmp_path / "run" / "graphs.jsonl").read_text().splitlines()]
    assert [line.get("continues") for line in lines] == [None, 0]
    assert open_run(tmp_path / "run").loss.tolist() == [4.0, 100.0, 144.0]


def test_gradients_that_add_up_are_noticed(tmp_path):
    w = gradviz.Tensor(2.0, name="w")
    with trace(tmp_path / "run", params={"w": w}) as t:
        for _ in range(2):
            loss = w**2
            loss.backward()
            t.step(loss)
    run = open_run(tmp_path / "run")
    assert run["w"].grad.tolist() == [4.0, 8.0]
    assert "another gradient of 'w'" in run.frame(1).meta["replay"]


def test_damaged_leaves_are_not_used(tmp_path):
    fit(tmp_path / "run")
    path = tmp_path / "run" / "leaves-0000.npy"
    data = bytearray(path.read_bytes())
    data[data.index(Y.tobytes()) + 11] ^= 1
    path.write_bytes(data)
    assert "damaged" in open_run(tmp_path / "run").frame(3).meta["replay"]
    path.unlink()
    assert "not known" in open_run(tmp_path / "run").frame(3).meta["replay"]


def test_threads_share_a_trace(tmp_path):
    def work():
        for _ in range(300):
            t.step(1.0)

    with trace(tmp_path / "run", params={"w": Param(1.0, 2.0)}) as t:
        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(t) == 1500
    run = open_run(tmp_path / "run")
    assert np.array_equal(run.steps, np.arange(1500))
    assert run.damage == []


def test_a_loss_must_be_one_number(tmp_path):
    with trace(tmp_path / "run", params={"w": Param(1.0)}) as t:
        with pytest.raises(GradvizValueError, match=r"not an array of shape \(3,\)"):
            t.step(np.ones(3))
        with pytest.raises(GradvizTypeError, match="real number, not str"):
            t.step("0.5")
        with pytest.raises(GradvizTypeError, match="real number, not complex"):
            t.step(1j)
        t.step(0.5)
    assert open_run(tmp_path / "run").loss.tolist() == [0.5]


def test_parameters_that_cannot_be_recorded(tmp_path):
    with (
        trace(tmp_path / "run", params={"w": Param("text")}) as t,
        pytest.raises(GradvizTypeError, match="'w' holds str"),
    ):
        t.step(1.0)
    with (
        trace(tmp_path / "run", params={"w": Param(None)}) as t,
        pytest.raises(GradvizTypeError, match="'w' has no value"),
    ):
        t.step(1.0)
    with trace(tmp_path / "run") as t, pytest.raises(GradvizTypeError, match="pass them: trace"):
        t.step(1.0)
    with pytest.raises(GradvizTypeError, match="must be a str, not 3"):
        trace(tmp_path / "run", params={3: Param(1.0)})
    with pytest.raises(GradvizValueError, match="two parameters have one name"):
        trace(tmp_path / "run", params=[gradviz.Tensor(1.0, name="w"), gradviz.Tensor(2.0, name="w")])


def test_options_are_checked_before_anything_is_written(tmp_path):
    with pytest.raises(GradvizValueError, match="auto, full, stats, scalars"):
        trace(tmp_path / "run", level="everything")
    with pytest.raises(GradvizTypeError, match=r"meta\['model'\]\[1\] is a object"):
        trace(tmp_path / "run", meta={"model": [1, object()]})
    assert not (tmp_path / "run").exists()


def test_an_interrupted_step_leaves_a_whole_run(tmp_path):
    class Interrupting:
        grad = 1.0

        @property
        def data(self):
            if self.count == 2:
                self.count = 3
                raise KeyboardInterrupt
            self.count += 1
            return 1.0

    w = Interrupting()
    w.count = 0
    with trace(tmp_path / "run", params={"w": w}) as t:
        t.step(0.0)
        t.step(1.0)
        with pytest.raises(KeyboardInterrupt):
            t.step(2.0)
        t.step(3.0)
    assert open_run(tmp_path / "run").loss.tolist() == [0.0, 1.0, 3.0]


def test_run_json_says_which_process_of_how_many_wrote_it(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "four")
    trace(tmp_path / "run", params={"w": Param(1.0)}).close()
    info = open_run(tmp_path / "run").info
    assert (info["rank"], info["world_size"]) == (2, 1)


def test_parameters_of_a_model_or_as_pairs_or_one_alone(tmp_path):
    model = gradviz.nn.MLP([2, 3, 1], "tanh", rng=0)
    pairs = model.named_parameters()
    names = tuple(name for name, _ in pairs)
    alone = gradviz.Tensor([1.0, 2.0], name="v")
    for given, expected in ((model, names), (pairs, names), (model.parameters(), names), (alone, ("v",))):
        with trace(tmp_path / "run", params=given, exist="overwrite") as t:
            t.step(1.0)
        assert open_run(tmp_path / "run").names == expected


def test_what_is_no_parameter_is_refused(tmp_path):
    for wrong in ("w", 5, [np.ones(3)], {"w": 2.0}, [("w", 1.0)], [("w", 1.0, 2)]):
        with pytest.raises(GradvizTypeError):
            trace(tmp_path / "run", params=wrong)
    assert not (tmp_path / "run").exists()


def test_meta_that_no_reader_would_take_is_refused(tmp_path):
    loop = {}
    loop["again"] = loop
    for wrong in (loop, {"x": "y" * (1 << 23)}, {"x": 10**5000}):
        with pytest.raises(GradvizValueError):
            trace(tmp_path / "run", meta=wrong)
    with pytest.raises(GradvizTypeError, match="meta is a list"):
        trace(tmp_path / "run", meta=[1])
    assert not (tmp_path / "run").exists()


def test_step_numbers_are_whole_and_fit_into_a_row(tmp_path):
    with trace(tmp_path / "run", params={}) as t:
        for wrong, error in (("7", GradvizTypeError), (1.5, GradvizTypeError), (2**63, GradvizValueError)):
            with pytest.raises(error):
                t.step(1.0, step=wrong)
            with pytest.raises(error):
                t.event("mine", "here", step=wrong)
        t.step(1.0, step=np.int64(7))
    assert open_run(tmp_path / "run").steps.tolist() == [7]


def test_a_trace_without_steps_is_true(tmp_path):
    with trace(tmp_path / "run", params={}) as t:
        assert len(t) == 0
        assert t
