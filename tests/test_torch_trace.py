"""Runs of PyTorch programs: what is recorded, what is read back, what the health rules say of it."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

import gradviz
from gradviz.errors import GradvizValueError, TraceError

torch = pytest.importorskip("torch")
F = torch.nn.functional
LEVELS = ("full", "auto", "stats", "scalars")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small steps do not gain by more, and wait for each other on a busy machine
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small_limit(monkeypatch):
    """Let "auto" take everything for too large."""
    monkeypatch.setattr("gradviz.tracing.foreign.FULL_LIMIT", 0)


def mlp(*sizes, act=torch.nn.ReLU):
    layers = [layer for a, b in pairwise(sizes) for layer in (torch.nn.Linear(a, b), act())]
    return torch.nn.Sequential(*layers[:-1])


def trained(path, model, optimizer, loss_of, steps=6, *, order="before", **options):
    """Train and return the run; ``loss_of(i)`` computes the loss of a step."""
    with gradviz.trace(path, model=model, optimizer=optimizer, **options) as t:
        for i in range(steps):
            optimizer.zero_grad()
            loss = loss_of(i)
            loss.backward()
            if order == "before":
                t.step(loss)
            optimizer.step()
            if order == "after":
                t.step(loss)
    return gradviz.open_run(path)


def regression(path, steps=6, lr=0.05, hidden=8, **options):
    model, x = mlp(4, hidden, 1), torch.randn(16, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return trained(path, model, optimizer, lambda i: F.mse_loss(model(x)[:, 0], x.sum(1)), steps, **options)


# -- what is recorded ----------------------------------------------------------------------------------


def test_every_value_and_gradient_of_every_step_is_read_back(tmp_path):
    model, x, y = mlp(4, 8, 3), torch.randn(16, 4), torch.randint(0, 3, (16,))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    truth = []
    with gradviz.trace(tmp_path / "run", model=model, optimizer=optimizer) as t:
        for _ in range(5):
            optimizer.zero_grad()
            hidden = model[0](x)
            active = model[1](hidden)
            logits = model[2](active)
            loss = F.cross_entropy(logits, y)
            for part in (hidden, active, logits):
                part.retain_grad()
            loss.backward()
            t.step(loss)
            parts = {"hidden": hidden, "active": active, "logits": logits, **dict(model.named_parameters())}
            truth.append({n: (p.detach().numpy().copy(), p.grad.numpy().copy()) for n, p in parts.items()})
            optimizer.step()
    run = gradviz.open_run(tmp_path / "run")
    assert run.names == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert len(run.structures) == 1
    shown = {"hidden": "linear", "active": "relu", "logits": "linear"}
    for k, parts in enumerate(truth):
        frame = run.frame(k)
        assert frame.meta["replay"] == "exact"
        assert frame.step == k
        for name, (value, grad) in parts.items():
            ids = [n.id for n in frame.graph if n.name == name or (n.op == shown.get(name) and n.shape == value.shape)]
            found = [i for i in ids if np.array_equal(frame.values[i], value) and np.array_equal(frame.grads[i], grad)]
            assert found, name
        x_node = next(n for n in frame.graph if n.kind == "input" and n.shape == (16, 4))
        assert np.array_equal(frame.value(x_node), x.numpy())
        assert frame.grad(x_node) is None
    assert np.array_equal(run["0.weight"].grad[3], truth[3]["0.weight"][1])
    assert run.damage == []


def test_the_history_of_any_node_can_be_asked_for(tmp_path):
    run = regression(tmp_path / "run")
    relu = next(n.name for n in run.graph if n.op == "relu")
    assert relu in run.nodes
    assert run[relu].value.shape == (6, 16, 8)
    assert run[relu].grad_norm.shape == (6,)
    assert set(run.to_rows()[0]) == {"step", "time", "loss", *(f"{n}{g}" for n in run.names for g in ("", ".grad"))}


@pytest.mark.parametrize("level", LEVELS)
def test_levels_of_small_steps(tmp_path, level):
    run = regression(tmp_path / "run", level=level)
    frame = run.frame(3)
    whole = level in {"full", "auto"}
    assert (frame.meta["replay"] == "exact") is whole
    assert (frame.value("0.weight") is not None) is whole
    relu = next(n.name for n in run.graph if n.op == "relu")
    full = regression(tmp_path / "full", level="full") if not whole else run
    if level == "stats":
        assert run["0.weight"].stats["zeros"].shape == (6,)
        assert run[relu].stats["min"][0] == 0
    assert np.shape(run[relu].norm) == (6,)
    assert len(full) == len(run)
    assert frame.values[frame.graph.outputs[0]] == pytest.approx(run.loss[3])


def test_auto_keeps_norms_and_whole_steps_between(tmp_path, small_limit):
    run = regression(tmp_path / "run", steps=12, checkpoint=5)
    assert run.whole_positions().tolist() == [0, 5, 10]
    assert run.frame(5).value("0.weight").shape == (8, 4)
    between = run.frame(7)
    assert between.value("0.weight") is None
    assert "the nearest with every number are steps 5 and 10" in between.meta["replay"]
    assert np.isfinite(run["0.weight"].grad_norm).all()
    values = run["0.weight"].value
    assert np.flatnonzero(~values.mask.reshape(12, -1).any(axis=1)).tolist() == [0, 5, 10]
    assert run["0.weight"].norm[5] == pytest.approx(np.linalg.norm(values[5]))
    assert [e["kind"] for e in run.events].count("level") == 1


def test_the_first_step_with_a_nan_is_kept_whole(tmp_path, small_limit):
    model, x = mlp(4, 8, 1), torch.rand(16, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def loss_of(i):
        return torch.log((model(x) ** 2) * (0.0 if i >= 7 else 1.0) + x[:, :1] * (i < 7)).mean()

    run = trained(tmp_path / "run", model, optimizer, loss_of, 12, checkpoint=5)
    assert 7 in run.whole_positions().tolist()
    (nan,) = run.findings(["inf"])
    assert (nan.node.startswith("log"), nan.step) == (True, 7)


def test_large_steps_are_measured_between_those_kept_whole(tmp_path, small_limit, monkeypatch):
    monkeypatch.setattr("gradviz.tracing.foreign.COPIED_LIMIT", 0)
    model, x = mlp(4, 8, 1), torch.rand(16, 4)
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.01)

    def loss_of(i):
        out = model(x) if i % 4 != 3 else model(x[:8])
        return torch.log(out.square() * (0.0 if i == 17 else 1.0) + x[: len(out), :1] * (i < 17)).mean()

    run = trained(tmp_path / "run", model, optimizer, loss_of, 20, checkpoint=5)
    whole = run.whole_positions().tolist()
    assert {0, 18} <= set(whole) < set(range(20))
    assert run.frame(7).value("0.weight") is None
    assert np.isfinite(run["0.weight"].norm).all()
    (birth,) = run.findings(["inf"])
    assert (birth.node.startswith("log"), birth.step) == (True, 17)
    assert {finding.node for finding in run[:17].findings(["unchanged"])} == {"0.weight", "0.bias"}


@pytest.mark.parametrize("level", LEVELS)
def test_programs_that_change_from_step_to_step(tmp_path, level):
    model, x = mlp(4, 8, 4), torch.randn(6, 4)

    def loss_of(i):
        h = x
        for _ in range(1 + i % 3):
            h = model(h)
        return h.square().mean()

    run = trained(tmp_path / "run", model, torch.optim.SGD(model.parameters(), lr=0.1), loss_of, 9, level=level)
    assert len(run.graphs) == 3
    assert [len(run.frame(k).graph) for k in range(6)] == [10, 13, 16, 10, 13, 16]
    assert np.isfinite(run["0.weight"].grad_norm).all()
    assert run.damage == []


def test_a_number_of_the_program_that_changes_makes_no_new_structure(tmp_path):
    model, x = mlp(4, 1), torch.randn(6, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = trained(tmp_path / "run", model, optimizer, lambda i: (model(x) * (1 + i)).square().mean(), 20)
    assert len(run.structures) == 2
    mul = next(n for n in run.frame(9).graph if n.op == "mul")
    assert "changes from step to step" in mul.attrs.values()
    assert np.array_equal(run.frame(9).value(mul), 10 * run.frame(9).values[mul.inputs[0]])


def test_a_last_batch_of_another_size(tmp_path):
    model, x = mlp(4, 1), torch.randn(10, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = trained(tmp_path / "run", model, optimizer, lambda i: model(x[(i % 3) * 4 :][:4]).square().mean(), 6)
    assert [run.frame(k).graph.nodes[-2].shape for k in range(3)] == [(4, 1), (4, 1), (2, 1)]


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_dtypes(tmp_path, dtype):
    wanted = getattr(torch, dtype)
    model, x = mlp(4, 8, 1).to(wanted), torch.randn(6, 4).to(wanted)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run = trained(tmp_path / "run", model, optimizer, lambda i: model(x).square().mean())
    assert run.frame(2).graph["0.weight"].dtype == dtype
    assert run.frame(2).value("0.weight").dtype == ("float32" if dtype == "bfloat16" else dtype)


def test_autocast_and_whole_numbers_and_single_ones(tmp_path):
    model, x = mlp(4, 8, 3), torch.randn(6, 4)
    scale = torch.nn.Parameter(torch.tensor(2.0))

    def loss_of(i):
        with torch.autocast("cpu", torch.bfloat16):
            out = model(x)
        picked = out.float()[torch.arange(6), out.argmax(1)] * scale
        return (picked * (picked > 0)).square().mean()

    optimizer = torch.optim.SGD([*model.parameters(), scale], lr=0.01)
    with gradviz.trace(tmp_path / "run", model=model, params={**dict(model.named_parameters()), "scale": scale}) as t:
        for i in range(4):
            optimizer.zero_grad()
            loss = loss_of(i)
            loss.backward()
            t.step(loss)
            optimizer.step()
    run = gradviz.open_run(tmp_path / "run")
    assert run.frame(1).meta["replay"] == "exact"
    assert run["scale"].value[0] == 2.0
    assert {n.dtype for n in run.graph} >= {"float32", "bfloat16", "int64", "bool"}


# -- edges ---------------------------------------------------------------------------------------------


class Residual(torch.nn.Module):
    """Tied weights, a residual connection, a norm: nodes that are used more than once."""

    def __init__(self):
        super().__init__()
        self.emb, self.norm = torch.nn.Embedding(11, 8), torch.nn.LayerNorm(8)
        self.q, self.k, self.out = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 11, bias=False)
        self.out.weight = self.emb.weight

    def forward(self, ids):
        h = self.emb(ids)
        n = self.norm(h)
        return self.out(h + torch.relu(self.q(n)) * torch.sigmoid(self.k(n)))


def test_what_edges_carry_follows_from_the_recorded_numbers(tmp_path):
    model, ids = Residual(), torch.randint(0, 11, (5, 6))
    optimizer = torch.optim.Adam(model.parameters())
    with gradviz.trace(tmp_path / "run", model=model, optimizer=optimizer) as t:
        loss = F.cross_entropy(model(ids).flatten(0, 1), ids.flatten())
        loss.backward()
        t.step(loss)
        live = t._streams._written.frame()
    frame = gradviz.open_run(tmp_path / "run").frame(0)
    assert frame.graph.fingerprint() == live.graph.fingerprint()
    several = 0
    for edge in frame.graph.edges:
        known, truth = frame.edge_grad(*edge), live.edge_grad(*edge)
        assert (known is None) is (truth is None), edge
        if truth is not None:
            assert np.allclose(known, truth, rtol=1e-4, atol=1e-7), edge
            several += not np.array_equal(known, frame.grads[edge[0]])
    assert several >= 6
    relu = next(n for n in frame.graph if n.op == "relu")
    slope = frame.local(relu.inputs[0], relu.id)
    assert set(np.unique(slope)) == {0.0, 1.0}
    assert frame.local(frame.graph.edges[0][0], frame.graph.edges[0][1]) is None


def test_an_edge_of_a_step_is_not_what_was_added_up_over_several(tmp_path):
    model = torch.nn.Linear(2, 1)
    with gradviz.trace(tmp_path / "run", model=model) as t:
        for _ in range(3):
            loss = model(torch.tensor([[1.0, 2.0]])).sum()
            loss.backward()
            t.step(loss)
    frame = gradviz.open_run(tmp_path / "run").frame(2)
    linear = next(n for n in frame.graph if n.op == "linear")
    assert frame.grad("weight").tolist() == [[3.0, 6.0]]
    assert frame.edge_grad("weight", linear.name).tolist() == [[1.0, 2.0]]
    assert frame.edge_grad("bias", linear.name).tolist() == [1.0]


# -- the order of calls, and optimizers ----------------------------------------------------------------


@pytest.mark.parametrize("order", ["after", "never"])
def test_any_order_of_step_and_update_records_the_same(tmp_path, order):
    torch.manual_seed(0)
    one = regression(tmp_path / "one")
    torch.manual_seed(0)
    other = regression(tmp_path / "other", order=order)
    assert gradviz.diff(one, other).same


def test_gradients_that_are_added_up_belong_to_the_last_pass(tmp_path):
    model, x = mlp(4, 1), torch.randn(6, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sums = []
    with gradviz.trace(tmp_path / "run", model=model, optimizer=optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            for part in x.chunk(3):
                (model(part).square().mean() / 3).backward()
            sums.append(model[0].weight.grad.numpy().copy())
            optimizer.step()
    run = gradviz.open_run(tmp_path / "run")
    assert len(run) == 3
    assert np.array_equal(run["0.weight"].grad, sums)


def test_a_loss_handed_over_as_a_number_or_scaled(tmp_path):
    model, x = mlp(4, 1), torch.randn(6, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    with gradviz.trace(tmp_path / "run", model=model) as t:
        for i in range(4):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            (loss * 64.0).backward()
            t.step(loss.item() if i % 2 else loss)
            optimizer.step()
    run = gradviz.open_run(tmp_path / "run")
    assert run.loss == pytest.approx(run.loss[0], rel=1e-3)


def test_settings_of_the_optimizer_are_noted_when_they_change(tmp_path):
    model, x = mlp(4, 8, 1), torch.randn(6, 4)
    groups = [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[2].parameters(), "lr": 0.1}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    plan = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)

    def loss_of(i):
        if i:
            plan.step()
        return model(x).square().mean()

    run = trained(tmp_path / "run", model, optimizer, loss_of, 7)
    told = [event for event in run.events if event["kind"] == "optimizer"]
    assert [event["step"] for event in told] == [0, 3, 6]
    assert told[0]["optimizer"] == "SGD"
    assert told[1]["options"] == {"lr": 0.05, "momentum": 0.9, "groups": [{"lr": 0.005}, {"lr": 0.05}]}


def test_parameters_alone_without_a_model(tmp_path):
    w, b = torch.zeros(3, requires_grad=True), torch.zeros((), requires_grad=True)
    optimizer = torch.optim.SGD([w, b], lr=0.1)
    with gradviz.trace(tmp_path / "run", params={"w": w, "b": b}, optimizer=optimizer) as t:
        for _ in range(4):
            optimizer.zero_grad()
            loss = (w.sum() + b - 1) ** 2
            loss.backward()
            t.step(loss)
            optimizer.step()
    run = gradviz.open_run(tmp_path / "run")
    assert run["w"].value.shape == (4, 3)
    assert run["b"].grad[0] == -2.0
    assert [event["optimizer"] for event in run.events if event["kind"] == "optimizer"] == ["SGD"]
    assert run.graph is None


def test_bfloat16_parameters_alone(tmp_path):
    w = torch.ones(3, requires_grad=True, dtype=torch.bfloat16)
    with gradviz.trace(tmp_path / "run", params={"w": w}) as t:
        for _ in range(3):
            loss = w.square().sum()
            loss.backward()
            t.step(loss)
    assert gradviz.open_run(tmp_path / "run")["w"].grad[0].tolist() == [2.0, 2.0, 2.0]


def test_parameters_that_do_not_train_are_inputs(tmp_path):
    model, x = mlp(4, 8, 1), torch.randn(6, 4)
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    run = trained(tmp_path / "run", model, optimizer, lambda i: model(x).square().mean())
    assert run.names == ("2.weight", "2.bias")
    assert run.graph["0.weight"].kind == "input"
    assert run.frame(3).value("0.weight").shape == (8, 4)
    assert run.findings(["no-gradient", "unchanged", "cut"]) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("level", LEVELS)
def test_tensors_on_a_device(tmp_path, level, small_limit):
    model, x = mlp(4, 8, 1).cuda(), torch.randn(6, 4).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = trained(tmp_path / "run", model, optimizer, lambda i: model(x).square().mean(), level=level, checkpoint=2)
    assert np.isfinite(run["0.weight"].norm).all()
    assert np.isfinite(run["0.weight"].grad_norm).all()


# -- beginning, end, and what goes wrong ---------------------------------------------------------------


def test_nothing_is_left_behind(tmp_path):
    model = mlp(4, 8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trained(tmp_path / "run", model, optimizer, lambda i: model(torch.ones(2, 4)).square().mean())
    assert not torch.overrides._get_current_function_mode_stack()
    assert not optimizer._optimizer_step_pre_hooks
    assert not any(p._backward_hooks for p in model.parameters())
    assert not torch.nn.modules.module._global_forward_pre_hooks


def test_training_is_the_same_bit_for_bit_with_and_without_a_trace(tmp_path):
    results = []
    for path in (None, tmp_path / "run"):
        torch.manual_seed(3)
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        losses = []

        def loss_of(i, model=model, losses=losses):
            losses.append(model(torch.randn(6, 4)).square().mean())
            return losses[-1]

        if path is None:
            for i in range(5):
                optimizer.zero_grad()
                loss_of(i).backward()
                optimizer.step()
        else:
            trained(path, model, optimizer, loss_of, 5)
        results.append([x.item() for x in losses] + [p.detach().numpy().tobytes() for p in model.parameters()])
    assert results[0] == results[1]


def test_a_program_that_never_hands_over_a_step(tmp_path):
    model = mlp(4, 1)
    t = gradviz.trace(tmp_path / "run", model=model)
    for _ in range(3):
        model(torch.ones(2, 4)).sum().backward()
    with pytest.warns(RuntimeWarning, match="3 backward passes were seen and no step was recorded"):
        t.close()
    events = gradviz.open_run(tmp_path / "run").events
    assert [event["kind"] for event in events] == ["missed", "end"]


def test_a_loss_that_nothing_was_seen_of(tmp_path):
    model = mlp(4, 1)
    loss = model(torch.ones(2, 4)).sum()
    loss.backward()
    with gradviz.trace(tmp_path / "run", model=model) as t:
        with pytest.raises(GradvizValueError, match="nothing was recorded of this loss"):
            t.step(loss)
        loss = model(torch.ones(2, 4)).sum()
        loss.backward()
        t.step(loss)
    assert len(gradviz.open_run(tmp_path / "run")) == 1
    with pytest.raises(TraceError, match="closed"):
        t.step(loss)


def test_an_error_in_the_loop_closes_the_trace(tmp_path):
    model = mlp(4, 1)

    def train():
        with gradviz.trace(tmp_path / "run", model=model):
            model(torch.ones(2, 4)).sum().backward()
            return 1 / 0

    with pytest.raises(ZeroDivisionError):
        train()
    assert not torch.overrides._get_current_function_mode_stack()
    assert gradviz.open_run(tmp_path / "run").events[-1]["error"] == "ZeroDivisionError"


def test_a_budget_lowers_the_level(tmp_path, monkeypatch):
    monkeypatch.setattr("gradviz.tracing.budget.SECONDS", 0.0)
    model, x = mlp(4, 64, 1), torch.randn(16, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run = trained(tmp_path / "run", model, optimizer, lambda i: model(x).square().mean(), 200, budget=1e-6)
    assert [e["to"] for e in run.events if e["kind"] == "level"] == ["checkpoint", "scalars", "loss"]
    assert len(run) == 200
    assert run.damage == []
    assert run.frame(199).meta["replay"]


def test_a_model_of_gradviz_gives_its_parameters(tmp_path):
    model = gradviz.nn.Linear(2, 1)
    with gradviz.trace(tmp_path / "run", model=model) as t:
        loss = (model(np.ones((3, 2))) ** 2).sum()
        loss.backward()
        t.step(loss)
    run = gradviz.open_run(tmp_path / "run")
    assert run.names == tuple(name for name, _ in model.named_parameters())
    assert run.frame(0).meta["replay"] == "exact"
    assert run.nodes == ()


READER = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("there is no torch here")
sys.meta_path.insert(0, Without())
import gradviz
run = gradviz.open_run(sys.argv[1])
frame = run.frame(3)
for edge in frame.graph.edges:
    frame.edge_grad(*edge), frame.local(*edge)
run.findings(), run.save(sys.argv[1] + "/report.html"), str(frame), gradviz.diff(run, run)
print(len(run), frame.meta["replay"], "torch" in sys.modules)
"""


def test_a_run_is_read_without_torch(tmp_path):
    regression(tmp_path / "run")
    command = [sys.executable, "-c", READER, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["6", "exact", "False"], done.stderr


def test_report_and_plots(tmp_path, small_limit):
    run = regression(tmp_path / "run", steps=12, checkpoint=5)
    page = run.save(tmp_path / "report.html").read_text("utf-8")
    assert "the nearest with every number" in page
    assert "0.weight" in page
    assert run.plot("gradients") is not None


# -- the health rules ----------------------------------------------------------------------------------


def found(run, *severities):
    return {(finding.rule, finding.node) for finding in run.findings() if finding.severity in severities}


def fitted(path, model, optimizer, x, target=None, steps=30, **options):
    target = x.sum(1) if target is None else target
    return trained(
        path, model, optimizer, lambda i: F.mse_loss(model(x)[:, 0], target), steps, checkpoint=10, **options
    )


@pytest.fixture(params=["full", "auto"])
def kept(request, monkeypatch):
    """Every step kept whole, or only every tenth."""
    if request.param == "auto":
        monkeypatch.setattr("gradviz.tracing.foreign.FULL_LIMIT", 0)
    return {"level": request.param}


def test_dead_units(tmp_path, kept):
    model = mlp(8, 32, 32, 1)
    with torch.no_grad():
        model[2].bias.fill_(-50.0)
    run = fitted(tmp_path / "run", model, torch.optim.SGD(model.parameters(), lr=0.05), torch.randn(64, 8), **kept)
    relu = [n.name for n in run.graph if n.op == "relu"]
    assert ("dead", relu[1]) in found(run, "warning")
    assert "zero-gradient" in {rule for rule, _ in found(run, "error")}


def test_a_learning_rate_that_is_too_large(tmp_path, kept):
    model = mlp(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=2.0)
    run = fitted(tmp_path / "run", model, optimizer, torch.randn(64, 4), steps=25, **kept)
    rules = {rule for rule, _ in found(run, "error", "warning")}
    assert rules >= {"diverging", "update-ratio"}
    if kept["level"] == "full":
        (step,) = run.findings(["large-step"])
        assert step.numbers["lr"] == pytest.approx(2.0)


class Cut(torch.nn.Module):
    """An encoder whose result goes on as a constant."""

    def __init__(self, way):
        super().__init__()
        self.enc, self.head, self.way = torch.nn.Linear(8, 16), torch.nn.Linear(16, 1), way

    def forward(self, x):
        if self.way == "detach":
            return self.head(torch.relu(self.enc(x)).detach())
        if self.way == "no_grad":
            with torch.no_grad():
                h = torch.relu(self.enc(x))
            return self.head(h)
        return self.head(x.repeat(1, 2))


@pytest.mark.parametrize("way", ["detach", "no_grad", "unused"])
def test_a_path_that_is_cut(tmp_path, kept, way):
    model = Cut(way)
    run = fitted(tmp_path / "run", model, torch.optim.Adam(model.parameters()), torch.randn(64, 8), **kept)
    errors = found(run, "error")
    assert {("no-gradient", "enc.weight"), ("no-gradient", "enc.bias")} <= errors
    assert ("cut" in {rule for rule, _ in errors}) is (way != "unused")


@pytest.mark.parametrize("level", LEVELS)
def test_a_nan_from_the_log_of_0(tmp_path, level):
    model, x = mlp(8, 16, 3), torch.randn(64, 8)
    target = F.one_hot((x[:, 0] > 0).long(), 3)

    def loss_of(i):
        return -(torch.log(torch.softmax(model(x) * 3.0**i, 1)) * target).sum(1).mean()

    run = trained(tmp_path / "run", model, torch.optim.SGD(model.parameters(), lr=0.1), loss_of, 12, level=level)
    (nan,) = run.findings(["nan"])
    assert nan.node.startswith("log")
    assert not np.isfinite(run.loss[nan.step])
    assert np.isfinite(run.loss[nan.step - 1])


def test_a_parameter_that_the_optimizer_does_not_hold(tmp_path, kept):
    model = mlp(8, 32, 1)
    run = fitted(tmp_path / "run", model, torch.optim.Adam(model[2].parameters(), lr=0.01), torch.randn(64, 8), **kept)
    assert found(run, "error") == {("unchanged", "0.weight"), ("unchanged", "0.bias")}


def test_gradients_that_vanish(tmp_path, kept):
    model = mlp(8, *[16] * 14, 1, act=torch.nn.Sigmoid)
    run = fitted(tmp_path / "run", model, torch.optim.SGD(model.parameters(), lr=0.01), torch.randn(64, 8), **kept)
    assert "vanishing" in {rule for rule, _ in found(run, "warning")}


def test_gradients_that_explode(tmp_path, kept):
    model = mlp(8, *[64] * 12, 1)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.6)
    run = fitted(tmp_path / "run", model, torch.optim.SGD(model.parameters(), lr=1e-30), torch.randn(64, 8), **kept)
    assert "exploding" in {rule for rule, _ in found(run, "warning")}


def test_saturated_units(tmp_path, kept):
    model, x = mlp(8, 32, 1, act=torch.nn.Tanh), 100 * torch.randn(64, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    run = fitted(tmp_path / "run", model, optimizer, x, x.sum(1) / 100, **kept)
    assert "saturated" in {rule for rule, _ in found(run, "warning")}


@pytest.mark.parametrize(("value", "rule"), [(0.1, "symmetric"), (0.0, "zero-start")])
def test_weights_that_start_alike(tmp_path, kept, value, rule):
    model = mlp(8, 32, 1, act=torch.nn.Tanh)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(value)
    run = fitted(tmp_path / "run", model, torch.optim.SGD(model.parameters(), lr=0.01), torch.randn(64, 8), **kept)
    assert (rule, "0.weight") in found(run, "error")


def test_inputs_of_different_scale(tmp_path, kept):
    model, x = mlp(8, 32, 1), torch.randn(64, 8) * torch.logspace(-3, 3, 8)
    run = fitted(tmp_path / "run", model, torch.optim.SGD(model.parameters(), lr=1e-9), x, x[:, 0], **kept)
    assert "scaling" in {rule for rule, _ in found(run, "warning")}


def digits():
    data = pytest.importorskip("sklearn.datasets").load_digits()
    return torch.tensor(data.data / 16, dtype=torch.float32), torch.tensor(data.target)


class Recurrent(torch.nn.Module):
    """An LSTM with a linear layer on its last state."""

    def __init__(self):
        super().__init__()
        self.rnn, self.out = torch.nn.LSTM(1, 16, batch_first=True), torch.nn.Linear(16, 1)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


def sound(kind):
    """Return a model, an optimizer and the loss of a batch."""
    if kind == "lstm":
        model = Recurrent()
        waves = torch.sin(torch.linspace(0, 60, 1800)).unfold(0, 20, 1)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        return model, optimizer, lambda batch: F.mse_loss(model(waves[batch, :-1, None])[:, 0], waves[batch, -1])
    x, y = digits()
    if kind == "conv":
        nn = torch.nn
        first = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
        model = nn.Sequential(*first, nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
        x, optimizer = x.view(-1, 1, 8, 8), torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    else:
        model = mlp(64, 32, 10)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return model, optimizer, lambda batch: F.cross_entropy(model(x[batch]), y[batch])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", ["mlp", "conv", "lstm"])
def test_no_false_alarm_on_sound_training(tmp_path, kind, level):
    model, optimizer, loss_of = sound(kind)
    batches = torch.randint(0, 1700, (120, 64), generator=torch.Generator().manual_seed(1))
    run = trained(tmp_path / "run", model, optimizer, lambda i: loss_of(batches[i]), 120, level=level)
    assert run.loss[-10:].mean() < 0.3 * run.loss[:10].mean()
    assert found(run, "error", "warning") == set()
    assert run.damage == []
