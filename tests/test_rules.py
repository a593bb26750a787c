"""The health rules: what they find in broken trainings, and that they leave sound ones alone."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gradviz
from gradviz import Tensor, nn, optim
from gradviz.demo import fit
from gradviz.errors import GradvizTypeError, GradvizValueError, UnknownNameError
from gradviz.rules import Finding, all_rules, check, rule
from gradviz.rules.registry import MOST, RULES
from tests.hostile import HOSTILE
from tests.rules_examples import EXAMPLES, LABELS, Y, data, descend, line, train
from tests.rules_examples import X as INPUTS

PAGE = (Path(__file__).parent.parent / "docs" / "health.md").read_text("utf-8")
OURS = {name: rule for name, rule in all_rules().items() if rule.judge.__module__.startswith("gradviz.")}


def found(path, *rules):
    return gradviz.open_run(path).findings(rules or None)


def the(findings, name):
    return next(finding for finding in findings if finding.rule == name)


def serious(findings):
    return [str(finding) for finding in findings if finding.severity != "note"]


def bad(name, path):
    EXAMPLES[name][1](path)
    return found(path)


# -- every rule ---------------------------------------------------------------------------------------


def test_every_rule_has_a_good_and_a_bad_example():
    assert set(EXAMPLES) == set(OURS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_good_example_gives_no_finding_at_all(name, tmp_path):
    EXAMPLES[name][0](tmp_path / "run")
    assert serious(found(tmp_path / "run")) == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_bad_example_is_found(name, tmp_path):
    finding = the(bad(name, tmp_path / "run"), name)
    assert finding.severity == all_rules()[name].severity or name == "zero-gradient"
    assert finding.message
    assert finding.advice
    assert finding.numbers or name == "cut"
    assert finding.node is not None
    assert finding.step is not None
    json.dumps(finding.to_dict(), allow_nan=False)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_rule_says_why(name):
    found = all_rules()[name]
    assert min(map(len, (found.summary, found.advice, found.because))) > 20
    assert all(isinstance(value, int | float) for value in found.thresholds.values())


# -- the numbers in them ------------------------------------------------------------------------------


def test_the_birth_of_a_nan_has_its_step_its_node_its_line_and_the_operand(tmp_path):
    finding = the(bad("nan", tmp_path / "run"), "nan")
    w, k = 3.0, 0
    while w > 0:
        w, k = w - 0.5 * (1 + 1 / w), k + 1
    loss = gradviz.open_run(tmp_path / "run").loss
    assert (finding.node, finding.step, finding.last_step) == ("log_1", k, np.flatnonzero(np.isnan(loss))[-1])
    assert finding.numbers["w"] == pytest.approx(w)
    assert finding.source.file.endswith("rules_examples.py")
    assert finding.source.text == "np.log(w)"


def test_an_infinite_gradient_is_born_in_the_backward_pass_while_the_loss_is_finite(tmp_path):
    finding = the(bad("inf", tmp_path / "run"), "inf")
    assert (finding.node, finding.step) == ("sqrt_1", 0)
    assert "backward pass of sqrt_1" in finding.message
    assert "the loss itself is finite" in finding.message
    assert finding.numbers["w"] == 0.0
    assert finding.numbers["at"] == (1,)


def test_a_nan_that_where_hides_comes_back_in_the_gradient():
    w = Tensor([1.0, 1000.0], name="w")
    with np.errstate(over="ignore", invalid="ignore"):
        loss = np.where(np.array([True, False]), np.exp(w), w).sum()
        loss.backward()
    findings = check(gradviz.frame(loss))
    assert the(findings, "nan").node == "exp_1"
    assert "backward" in the(findings, "nan").message
    assert the(findings, "inf").node == "exp_1"


def test_an_infinity_that_reaches_nothing_is_only_noted():
    w = Tensor([1.0, 2.0], name="w")
    with np.errstate(divide="ignore"):
        loss = (np.exp(-((1.0 / (w - 1.0)) ** 2))[1:]).sum() + (w * w).sum()
    assert {finding.severity for finding in check(gradviz.frame(loss), ["inf"])} == {"note"}


def test_data_with_a_nan_is_named():
    x, w = data([1.0, np.nan, 3.0]), Tensor(np.ones(3), name="w")
    loss = (x * w).sum()
    loss.backward()
    finding = check(gradviz.frame(loss), ["nan"])[0]
    assert (finding.node, finding.message) == ("x", "the input x holds NaN: 1 of 3 elements")


def test_a_parameter_that_an_update_made_infinite_says_so(tmp_path):
    w = Tensor(1.0, name="w")
    with np.errstate(all="ignore"):
        descend(tmp_path / "run", {"w": w}, lambda: w * 1e200, lr=1e200, steps=4)
    finding = the(found(tmp_path / "run"), "inf")
    assert (finding.node, finding.step) == ("w", 1)
    assert "the update after step 0 made it" in finding.message


def test_vanishing_is_told_in_decades_by_op():
    h = Tensor(0.5, name="w")
    expected = 0.0
    for i in range(12):
        h = gradviz.sigmoid(h)
        y = h.item()
        expected += np.log10(y * (1 - y)) if 0 < i < 11 else 0.0  # from the last but one back to the first
    loss = (h - 1) ** 2
    loss.backward()
    finding = check(gradviz.frame(loss), ["vanishing"])[0]
    assert finding.numbers["decades"] == pytest.approx(expected, abs=1e-9)
    assert finding.numbers["ops"]["sigmoid"]["times"] == 10
    assert "10 x sigmoid" in finding.message
    assert finding.node == "sigmoid_1"


def test_a_gradient_is_not_said_to_vanish_because_the_error_does(tmp_path):
    line(tmp_path / "run", lr=0.3, steps=600)
    run = gradviz.open_run(tmp_path / "run")
    assert run.loss[-1] < 1e-20
    assert serious(run.findings()) == []


def test_a_cliff_is_a_jump_of_the_gradient(tmp_path):
    p = SimpleNamespace(data=1.0, grad=1.0)
    with gradviz.trace(tmp_path / "run", params={"p": p}) as log:
        for k in range(30):
            p.grad = 5e4 if k == 20 else 1.0
            log.step(1.0 / (k + 1))
    finding = the(found(tmp_path / "run"), "exploding")
    assert finding.step == 20
    assert finding.numbers["decades"] == pytest.approx(np.log10(5e4))


def test_dead_units_are_counted_and_named(tmp_path):
    finding = the(bad("dead", tmp_path / "run"), "dead")
    assert (finding.numbers["dead"], finding.numbers["units"]) == (12, 16)
    assert finding.numbers["which"] == list(range(12))
    assert finding.step == 0
    assert "from the start" in finding.message


def test_units_that_die_on_the_way_say_since_when(tmp_path):
    model = nn.MLP([3, 8, 1], "relu", rng=0)
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    with gradviz.trace(tmp_path / "run", params=dict(model.named_parameters())) as log:
        for k in range(20):
            optimizer.zero_grad()
            loss = nn.bce_with_logits(model(data(INPUTS)), data(LABELS, "y"))
            loss.backward()
            log.step(loss)
            optimizer.step()
            if k == 8:
                model.layers[0].bias.data = np.full(8, -50.0)
    finding = the(found(tmp_path / "run"), "dead")
    assert (finding.numbers["dead"], finding.step, finding.last_step) == (8, 9, 19)


def test_a_unit_of_a_convolution_is_a_channel():
    x = data(np.random.default_rng(0).normal(size=(4, 1, 6, 6)))
    w = Tensor(np.random.default_rng(1).normal(size=(3, 1, 3, 3)), name="w")
    b = Tensor(np.array([0.0, -1000.0, 0.0]).reshape(3, 1, 1), name="b")
    loss = gradviz.relu(gradviz.conv2d(x, w) + b).mean()
    loss.backward()
    finding = check(gradviz.frame(loss), ["dead"])[0]
    assert (finding.numbers["which"], finding.numbers["units"]) == ([1], 3)


def test_a_relu_written_as_maximum_is_one_too():
    w = Tensor(-np.ones((20, 2)), name="w")
    loss = np.maximum(w, 0.0).sum()
    loss.backward()
    assert check(gradviz.frame(loss), ["dead"])[0].numbers["dead"] == 2


def test_the_result_of_a_trained_classifier_may_be_saturated(tmp_path):
    model = nn.Sequential(nn.Linear(3, 1, rng=0), nn.Sigmoid())
    labels = (INPUTS[:, :1] > 0).astype(float)
    train(tmp_path / "run", model, optim.Adam(model.parameters(), lr=0.5), y=labels, loss=nn.binary_cross_entropy,
          steps=400)  # fmt: skip
    run = gradviz.open_run(tmp_path / "run")
    last = run.frame(-1)
    sure = last.value(last.graph.find(op="sigmoid")[0])
    assert np.mean(np.abs(sure - 0.5) > 0.49) > 0.75
    assert not [finding for finding in run.findings() if finding.rule == "saturated"]


@pytest.mark.parametrize(
    ("severed", "text"),
    [
        (lambda w: w.detach(), "w.detach()"),
        (lambda w: (w * 2).detach(), "(w * 2).detach()"),
        (lambda w: w.astype(int), "w.astype(int)"),
    ],
)
def test_a_path_that_is_detached_is_cut_where_it_is(severed, text, tmp_path):
    w, b = Tensor(np.ones(3), name="w"), Tensor(0.0, name="b")
    descend(tmp_path / "run", {"w": w, "b": b}, lambda: np.mean((data(INPUTS) @ severed(w) + b - Y) ** 2))
    findings = found(tmp_path / "run")
    cut = the(findings, "cut")
    assert cut.source.text == text
    assert text in cut.message
    assert the(findings, "no-gradient").node == "w"


@pytest.mark.parametrize("step", [np.sign, np.round, np.floor, np.ceil, np.trunc, lambda x: x // 1])
def test_a_path_through_a_step_is_cut_at_the_step(step):
    w, b = Tensor(np.ones(3), name="w"), Tensor(0.0, name="b")
    loss = ((step(data(INPUTS) @ w) + b - Y) ** 2).mean()
    loss.backward()
    finding = check(gradviz.frame(loss), ["cut"])[0]
    op = loss_op(gradviz.graph(loss))
    assert finding.node == op.name
    assert "every path from w" in finding.message


def loss_op(graph):
    return next(node for node in graph.nodes if "0" in node.formulas)


def test_another_path_keeps_a_parameter_connected():
    w = Tensor(np.ones(3), name="w")
    loss = (np.round(w) * w).sum()
    loss.backward()
    assert check(gradviz.frame(loss), ["cut", "zero-gradient", "no-gradient"]) == []


def test_nobody_called_backward(tmp_path):
    w = Tensor(1.0, name="w")
    with gradviz.trace(tmp_path / "run", params={"w": w}) as log:
        for _ in range(5):
            log.step((w - 3) ** 2)
    findings = found(tmp_path / "run", "no-gradient")
    assert [finding.message for finding in findings] == [
        "no parameter ever has a gradient: was backward() called before step()?"
    ]


def test_the_place_where_a_gradient_becomes_zero(tmp_path):
    finding = the(bad("zero-gradient", tmp_path / "run"), "zero-gradient")
    assert finding.node.startswith("mul")
    assert finding.source.text == "data(X) @ w * gate"


def test_a_descent_that_has_arrived_may_have_a_gradient_of_zero(tmp_path):
    w = Tensor(0.0, name="w")
    descend(tmp_path / "run", {"w": w}, lambda: (w - 3) ** 2, lr=0.5, steps=40)
    assert gradviz.open_run(tmp_path / "run")["w"].grad[-1] == 0.0
    assert serious(found(tmp_path / "run")) == []


@pytest.mark.parametrize("lr", [0.26, 0.3, 0.5, 2.0])
def test_the_largest_stable_learning_rate_of_a_quadratic(lr, tmp_path):
    curvatures = np.array([1.0, 3.0, 8.0])
    w = Tensor(np.ones(3), name="w")
    descend(tmp_path / "run", {"w": w}, lambda: 0.5 * np.sum(curvatures * w * w), lr=lr, steps=40)
    finding = the(found(tmp_path / "run"), "large-step")
    assert finding.numbers["largest stable lr"] == pytest.approx(2 / 8, rel=0.02)
    assert finding.numbers["lr"] == pytest.approx(lr)
    assert f"it was {lr:g}" in finding.message


@pytest.mark.parametrize("lr", [0.01, 0.1, 0.2, 0.24])
def test_below_it_nothing_is_found(lr, tmp_path):
    curvatures = np.array([1.0, 3.0, 8.0])
    w = Tensor(np.ones(3), name="w")
    descend(tmp_path / "run", {"w": w}, lambda: 0.5 * np.sum(curvatures * w * w), lr=lr, steps=40)
    assert found(tmp_path / "run", "large-step", "oscillating", "diverging", "not-decreasing") == []


def test_divergence_has_its_factor(tmp_path):
    w = Tensor(1.0, name="w")
    descend(tmp_path / "run", {"w": w}, lambda: (w - 3) ** 2, lr=1.2, steps=40)
    finding = the(found(tmp_path / "run"), "diverging")
    assert finding.numbers["factor per step"] == pytest.approx(1.4**2)


def test_a_loss_that_climbs_back_is_a_warning(tmp_path):
    with gradviz.trace(tmp_path / "run", params={}) as log:
        for loss in [*np.linspace(10, 1, 50), *np.linspace(1, 8, 50)]:
            log.step(float(loss))
    finding = the(found(tmp_path / "run"), "diverging")
    assert finding.severity == "warning"
    assert finding.numbers["best"] == pytest.approx(1.4, abs=0.5)
    assert 40 <= finding.numbers["best step"] <= 52


def test_a_parameter_nobody_updates_is_named(tmp_path):
    finding = the(bad("unchanged", tmp_path / "run"), "unchanged")
    assert finding.node == "w"
    assert finding.numbers["norm"] == pytest.approx(np.sqrt(3))


@pytest.mark.parametrize("size", [2, 10_000])
def test_a_parameter_that_only_turns_does_change(size, tmp_path):
    p = SimpleNamespace(data=np.zeros(size), grad=np.ones(size))
    with gradviz.trace(tmp_path / "run", params={"p": p}) as log:
        for k in range(20):
            p.data = np.roll(np.eye(1, size)[0], k)
            log.step(1.0 / (k + 1))
    assert set(gradviz.open_run(tmp_path / "run")["p"].norm) == {1.0}
    assert found(tmp_path / "run", "unchanged") == []


def test_alike_units_are_counted(tmp_path):
    findings = [finding for finding in bad("symmetric", tmp_path / "run") if finding.rule == "symmetric"]
    assert [finding.node for finding in findings] == ["layers.0.weight", "layers.2.weight"]
    assert all(finding.numbers == {"alike": 8, "of": 8, "at the end": 8} for finding in findings)


def test_one_layer_may_start_at_zero(tmp_path):
    W, b = Tensor(np.zeros((3, 4)), name="W"), Tensor(np.zeros(4), name="b")
    labels = np.arange(40) % 4
    descend(tmp_path / "run", {"W": W, "b": b}, lambda: nn.cross_entropy(data(INPUTS) @ W + b, labels), lr=0.5)
    assert serious(found(tmp_path / "run")) == []


def test_columns_of_different_scale_are_named(tmp_path):
    finding = the(bad("scaling", tmp_path / "run"), "scaling")
    assert finding.node == "x"
    assert finding.numbers["largest column"] == 2
    assert finding.numbers["ratio"] == pytest.approx(1e5 * np.ptp(INPUTS[:, 2]) / np.ptp(INPUTS, axis=0)[:2].min())


def test_inputs_far_from_zero_are_named_and_targets_are_not():
    x, y = data(np.arange(200.0, 220.0)), data(np.arange(1000.0, 1020.0), "y")
    w, b = Tensor(0.0, name="w"), Tensor(0.0, name="b")
    loss = ((x * w + b - y) ** 2).mean()
    loss.backward()
    findings = check(gradviz.frame(loss), ["scaling"])
    assert [finding.node for finding in findings] == ["x"]
    assert findings[0].numbers["mean"] == pytest.approx(209.5)


# -- sound trainings ----------------------------------------------------------------------------------


def test_the_demo_is_sound(tmp_path):
    assert serious(fit(tmp_path / "run").run.findings()) == []


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_sound_trainings_on_real_data_give_nothing(name, activation, tmp_path):
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    spread = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    model = nn.MLP([x.shape[1], 16, int(y.max()) + 1], activation, rng=0)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    with gradviz.trace(tmp_path / "run", params=dict(model.named_parameters())) as log:
        for _ in range(60):
            optimizer.zero_grad()
            loss = nn.cross_entropy(model(data(x)), y)
            loss.backward()
            log.step(loss)
            optimizer.step()
    assert serious(found(tmp_path / "run")) == []


@pytest.mark.parametrize("seed", range(3))
def test_the_moons_are_sound(seed, tmp_path):
    from sklearn.datasets import make_moons

    x, y = make_moons(200, noise=0.15, random_state=seed)
    model = nn.MLP([2, 16, 16, 1], "tanh", rng=seed)
    optimizer = optim.Adam(model.parameters(), lr=0.02, weight_decay=0.001)
    train(tmp_path / "run", model, optimizer, x=x, y=y[:, None], steps=200)
    assert serious(found(tmp_path / "run")) == []


@pytest.mark.parametrize("batch", [1, 8, 64])
def test_the_noise_of_minibatches_is_no_finding(batch, tmp_path):
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    model = nn.MLP([64, 32, 10], "relu", rng=1)
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    with gradviz.trace(tmp_path / "run", params=dict(model.named_parameters())) as log:
        for _ in range(300):
            chosen = rng.integers(0, len(x), batch)
            optimizer.zero_grad()
            loss = nn.cross_entropy(model(data(x[chosen] / 16)), y[chosen])
            loss.backward()
            log.step(loss)
            optimizer.step()
    assert serious(found(tmp_path / "run")) == []


def test_networks_at_the_edge_of_stability_are_left_alone(tmp_path):
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    x, y = (x - x.mean(axis=0)) / x.std(axis=0), (y[:, None] - y.mean()) / y.std()
    model = nn.MLP([10, 16, 1], "tanh", rng=0)
    train(tmp_path / "run", model, optim.SGD(model.parameters(), lr=0.3), x=x, y=y, loss=nn.mse, steps=500)
    assert serious(found(tmp_path / "run")) == []


# -- any run --------------------------------------------------------------------------------------------


def test_an_empty_run_gives_nothing(tmp_path):
    with gradviz.trace(tmp_path / "run", params={"w": Tensor(1.0)}):
        pass
    assert found(tmp_path / "run") == []


def test_one_step_gives_nothing(tmp_path):
    line(tmp_path / "run", steps=1)
    assert found(tmp_path / "run") == []


def test_losses_that_are_plain_numbers(tmp_path):
    p = SimpleNamespace(data=1.0, grad=None)
    with gradviz.trace(tmp_path / "run", params={"p": p}) as log:
        for _ in range(40):
            p.grad = 2 * (p.data - 3)
            log.step((p.data - 3) ** 2)
            p.data -= 1.2 * p.grad
    findings = found(tmp_path / "run")
    assert the(findings, "large-step").numbers["largest stable lr"] == pytest.approx(1.0)
    assert the(findings, "diverging").step == 0


@pytest.mark.parametrize("level", ["auto", "stats", "scalars", "full"])
def test_every_level_tells_what_it_can(level, tmp_path):
    w, b = Tensor(np.zeros(3), name="w"), Tensor(0.0, name="b")
    loss = lambda: np.mean((data(INPUTS) @ w + b - Y) ** 2)
    descend(tmp_path / "good", {"w": w, "b": b}, loss, level=level)
    assert serious(found(tmp_path / "good")) == []
    descend(tmp_path / "bad", {"w": w, "b": b}, loss, lr=0.9, level=level)
    names = {finding.rule for finding in found(tmp_path / "bad")}
    assert "diverging" in names
    assert "large-step" in names or level in {"scalars", "stats"}


def test_between_checkpoints_the_steps_are_computed_again(tmp_path):
    w = Tensor(np.ones(10_000), name="w")  # too large to be kept in full at every step
    curvatures = np.linspace(1.0, 8.0, 10_000)
    descend(tmp_path / "run", {"w": w}, lambda: 0.5 * np.sum(curvatures * w * w), lr=0.3, steps=120)
    run = gradviz.open_run(tmp_path / "run")
    assert run.info["checkpoint"] == 50
    assert np.ma.getmaskarray(run.column("w", "value")).all()
    finding = the(run.findings(), "large-step")
    assert finding.numbers["largest stable lr"] == pytest.approx(2 / 8, rel=0.05)
    assert finding.numbers["lr"] == pytest.approx(0.3)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_birth_of_a_nan_between_checkpoints(tmp_path):
    w = Tensor(np.full(10_000, 3.0), name="w")
    descend(tmp_path / "run", {"w": w}, lambda: np.sum(np.log(w) + w), lr=0.05, steps=80)
    run = gradviz.open_run(tmp_path / "run")
    finding = the(run.findings(), "nan")
    assert finding.step == np.flatnonzero(np.isnan(run.loss))[0]
    assert finding.step % 50
    assert finding.node == "log_1"
    assert finding.numbers["w"] < 0


def test_nan_everywhere(tmp_path):
    w = Tensor(np.full(5, np.nan), name="w")
    descend(tmp_path / "run", {"w": w}, lambda: np.sum((w - 3) ** 2), steps=20)
    findings = found(tmp_path / "run")
    assert serious(findings)[0].startswith("error: nan: the parameter w holds NaN: 5 of 5 elements")


def test_structures_and_shapes_that_change(tmp_path):
    w, v = Tensor(0.5, name="w"), Tensor(np.ones(3), name="v")
    with gradviz.trace(tmp_path / "a", params={"w": w, "v": v}) as log:
        for k in range(60):
            w.zero_grad(), v.zero_grad()
            h = w
            for _ in range(1 + k % 7):
                h = np.tanh(h) + 0.1
            loss = (h - 0.3) ** 2 + ((v * v).sum() if k % 2 else 0.0)
            loss.backward()
            log.step(loss)
            for p in (w, v):
                p.data = p.data if p.grad is None else p.data - 0.05 * p.grad
    assert {finding.rule for finding in found(tmp_path / "a")} <= {"not-decreasing"}
    p = SimpleNamespace(data=np.ones(3), grad=np.ones(3))
    with gradviz.trace(tmp_path / "b", params={"p": p}) as log:
        for k in range(40):
            p.data = p.grad = np.ones(3 + k % 3) / (k + 1)
            log.step(1 / (k + 1))
    assert found(tmp_path / "b") == []


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_hostile_names_are_shown_and_not_obeyed(tmp_path):
    params = {name: Tensor(np.zeros((2, 2))) for name in HOSTILE if name.isprintable() or name.isascii()}
    with gradviz.trace(tmp_path / "run", params=params) as log:
        for _ in range(12):
            for p in params.values():
                p.zero_grad()
            loss = sum((np.log(p) ** 2).sum() for p in list(params.values())[:10])
            loss.backward()
            log.step(loss)
    findings = found(tmp_path / "run")
    assert {"inf", "no-gradient"} <= {finding.rule for finding in findings}
    assert all(finding.message.isprintable() for finding in findings)
    json.dumps([finding.to_dict() for finding in findings], allow_nan=False)


def test_ten_thousand_steps(tmp_path):
    w, b = Tensor(0.0, name="w"), Tensor(0.0, name="b")
    descend(tmp_path / "run", {"w": w, "b": b}, lambda: np.mean((data(INPUTS[:, 0]) * w + b - Y) ** 2), lr=0.01,
            steps=10_000)  # fmt: skip
    run = gradviz.open_run(tmp_path / "run")
    assert serious(run.findings()) == []


def test_long_runs_of_large_parameters_are_read_in_stretches(tmp_path):
    from gradviz.rules.histories import NUMBERS_LIMIT, blocks_of

    p = SimpleNamespace(data=np.ones(7000), grad=np.ones(7000))
    with gradviz.trace(tmp_path / "run", params={"p": p}, level="full") as log:
        for k in range(400):
            p.data, p.grad = np.full(7000, 1.0 / (k + 1)), np.full(7000, np.inf if k >= 333 else 1.0)
            log.step(1.0 / (k + 1))
    run = gradviz.open_run(tmp_path / "run")
    blocks = blocks_of(run)
    assert blocks[0][0] == 0
    assert blocks[-1][1] == 400
    assert len(blocks) > 1
    assert sum(stop - start for start, stop in blocks) * 14_000 <= 1.1 * NUMBERS_LIMIT
    assert the(run.findings(), "inf").step == 333  # found by halving, between two stretches


# -- asking ---------------------------------------------------------------------------------------------


def test_the_most_serious_finding_comes_first(tmp_path):
    severities = [finding.severity for finding in bad("diverging", tmp_path / "run")]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)


def test_only_the_rules_asked_for_speak(tmp_path):
    EXAMPLES["diverging"][1](tmp_path / "run")
    assert {finding.rule for finding in found(tmp_path / "run", "diverging", "nan")} == {"diverging"}
    with pytest.raises(UnknownNameError, match="did you mean vanishing"):
        found(tmp_path / "run", "vanish")


def test_thresholds_can_be_set(tmp_path):
    EXAMPLES["vanishing"][1](tmp_path / "run")
    run = gradviz.open_run(tmp_path / "run")
    assert check(run, {"vanishing": {"decades": 3}})
    assert check(run, {"vanishing": {"decades": 300}}) == []
    with pytest.raises(GradvizValueError, match=r"(?s)no threshold 'decade'.*did you mean decades"):
        check(run, {"vanishing": {"decade": 3}})


def test_only_runs_and_frames_are_judged():
    with pytest.raises(GradvizTypeError, match="not int"):
        check(3)


def test_a_frame_before_backward_gives_nothing():
    w = Tensor([1.0, 2.0], name="w")
    assert check(gradviz.frame((w * w).sum())) == []


def test_a_rule_of_ones_own_and_the_limit_of_findings():
    from gradviz.rules import Symptom

    @rule("own", severity="note", summary="own", advice="none", because="a test")
    def own(seen, *, count=50):
        yield from (Symptom(f"number {i}", at="w", step=i) for i in range(count))

    try:
        findings = check(gradviz.frame(Tensor(1.0) * 2), ["own"])
        assert len(findings) == MOST
        assert findings[-1].numbers == {"more": 30}
        with pytest.raises(GradvizValueError, match="registered already"):
            rule("own", severity="note", summary="", advice="", because="")
    finally:
        del RULES["own"]


def test_a_finding_is_plain_and_frozen():
    finding = Finding("nan", "error", "NaN", node="w", step=3, last_step=9, numbers={"w": float("nan")})
    assert str(finding) == "error: nan: NaN (w, steps 3 to 9)"
    assert finding.to_dict()["numbers"] == {"w": "nan"}
    with pytest.raises(AttributeError):
        finding.rule = "inf"
    with pytest.raises(GradvizValueError, match="severity"):
        Finding("nan", "fatal", "NaN")


def test_a_number_that_another_rule_of_the_package_would_give_does_not_depend_on_the_order(tmp_path):
    EXAMPLES["diverging"][1](tmp_path / "run")
    names = list(all_rules())
    forwards, backwards = (found(tmp_path / "run", *order) for order in (names, names[::-1]))
    assert sorted(map(str, forwards)) == sorted(map(str, backwards))


# -- the page about them --------------------------------------------------------------------------------


def test_the_page_lists_every_rule_as_it_is():
    text = " ".join(PAGE.split())
    for found in OURS.values():
        limits = ", ".join(f"`{name}={value:g}`" for name, value in found.thresholds.items()) or "none"
        row = f"| `{found.name}` | {found.severity} | {found.summary} | {limits} |"
        assert row in PAGE, row
        assert f"**{found.name}**: {found.advice} *Why:* {found.because}." in text, found.name


def test_the_rule_of_ones_own_on_the_page_works(tmp_path):
    line(tmp_path / "run", start=100.0)
    block = PAGE.partition("```py\n")[2].partition("```")[0]
    variables = {"np": np, "run": gradviz.open_run(tmp_path / "run")}
    try:
        exec(block, variables)
        assert [finding.step for finding in variables["run"].findings(["spikes"])][:2] == [0, 1]
    finally:
        del RULES["spikes"]


def test_the_first_lines_on_the_page_are_what_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(PAGE.partition("```python\n")[2].partition("```")[0], {})
    out = capsys.readouterr().out
    expected = PAGE.partition("```text\n")[2].partition(", ...)")[0]
    assert out.startswith(expected)
    assert "2/curvature = 0.25 are stable; it was 0.3" in out
