"""The debugger on programs of PyTorch: captured, recorded in a run, after the fact, live; the planted faults."""

import inspect
import io
import operator
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gradviz  # noqa: E402
from gradviz import Debugger, assert_finite, assert_grads, assert_reaches, assert_same  # noqa: E402
from gradviz.debugger.callsites import _sites  # noqa: E402
from gradviz.debugger.session import Attached  # noqa: E402
from gradviz.engine import modes  # noqa: E402
from gradviz.errors import GradientError, GradvizTypeError, GradvizValueError, StoppedError  # noqa: E402
from gradviz.graphs.nodes import RuleEdges  # noqa: E402
from gradviz.graphs.plain import same_bits  # noqa: E402
from gradviz.graphs.projections import unpacked  # noqa: E402
from gradviz.sources.pullback import with_gradients, without_gradients  # noqa: E402

pytest_plugins = "pytester"
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "examples"))
try:
    import planted_faults as planted
finally:
    sys.path.pop(0)

Sequential, Linear, Module, Parameter = torch.nn.Sequential, torch.nn.Linear, torch.nn.Module, torch.nn.Parameter
mse = torch.nn.functional.mse_loss


@pytest.fixture(autouse=True)
def nothing_left_behind():
    torch.manual_seed(0)
    Attached.again()
    _sites.clear()
    yield
    Attached.again()
    assert modes.active == 0
    assert torch._C._len_torch_function_stack() == 0
    assert torch.autograd.Function.apply.__func__.__module__ == "torch.autograd.function"


@pytest.fixture
def typed(monkeypatch):
    """Return what makes these lines the standard input."""
    return lambda *lines: monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


# -- the planted faults, written with PyTorch ------------------------------------------------------


class Cube(torch.autograd.Function):
    """The cube of a number, with a wrong derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 2 * x**2


XP = SimpleNamespace(
    data=torch.tensor, detach=operator.methodcaller("detach"), cube=Cube.apply, mean=torch.mean, log=torch.log,
    exp=torch.exp, sum=torch.sum, sqrt=torch.sqrt, where=torch.where, tanh=torch.tanh, sigmoid=torch.sigmoid,
    relu=torch.relu,
)  # fmt: skip
FAULTS = {fault.program.__name__: fault for fault in planted.FAULTS}
OPS = {"detach_that_cuts": "detach", "wrong_rule": "Cube"}  # what they are called here
NOT_FINITE = [name for name, fault in FAULTS.items() if fault.kind in {"nan", "inf"}]


class Params(Module):
    """The parameters of a planted fault."""

    def __init__(self, fault):
        super().__init__()
        for name, value in fault.params.items():
            setattr(self, name, Parameter(torch.tensor(np.asarray(value))))

    def __getitem__(self, name):
        return getattr(self, name)


def train(fault, p, after=lambda loss: None):
    """Go down with plain gradient descent."""
    for _ in range(fault.steps):
        loss = fault.program(XP, p)
        loss.backward()
        after(loss)
        with torch.no_grad():
            for w in p.parameters():
                if w.grad is not None:
                    w.sub_(fault.lr * w.grad)
                w.grad = None
    return loss


def is_exact(fault, birth):
    op = OPS.get(fault.program.__name__, fault.op)
    told = (birth.op, birth.iteration, birth.phase, birth.kind)
    there = birth.source.line == fault.line and birth.source.file.endswith("planted_faults.py")
    return there and told == (op, fault.iteration, fault.phase, fault.kind)


@pytest.mark.parametrize("name", FAULTS)
def test_blame_is_exact_on_what_was_captured(name):
    fault, p = FAULTS[name], Params(FAULTS[name])
    with gradviz.capture(p) as cap:
        train(fault, p)
    birth = Debugger(cap).blame()
    assert is_exact(fault, birth), str(birth)
    assert "np." not in birth.advice


@pytest.mark.parametrize("name", NOT_FINITE)
def test_and_on_a_recorded_run(name, tmp_path):
    fault, p = FAULTS[name], Params(FAULTS[name])
    with gradviz.trace(tmp_path / "run", model=p, level="full") as log:
        train(fault, p, log.step)
    birth = Debugger(gradviz.open_run(tmp_path / "run")).blame()
    assert is_exact(fault, birth), str(birth)


@pytest.mark.parametrize("name", [n for n in FAULTS if FAULTS[n].iteration == 0 and n not in {"wrong_rule"}])
def test_after_the_fact_the_op_is_named(name):
    fault, p = FAULTS[name], Params(FAULTS[name])
    loss = fault.program(XP, p)
    birth = Debugger(loss, params=dict(p.named_parameters())).blame()
    if name == "detach_that_cuts":  # what was detached is a constant: nothing else can be known
        assert (birth.kind, birth.op, birth.phase) == ("cut", "const", "forward") or birth.kind == "cut"
    else:
        assert (birth.op, birth.phase, birth.kind) == (fault.op, fault.phase, fault.kind), str(birth)
    assert all(w.grad is None for w in p.parameters())
    loss.backward()  # still possible


def where_it_stopped(name):
    fault, p = FAULTS[name], Params(FAULTS[name])
    stops = []
    with gradviz.debugging(stop=stops.append):
        train(fault, p)
    return fault, stops


@pytest.mark.parametrize("name", NOT_FINITE)
def test_debugging_stops_at_the_birth(name):
    fault, stops = where_it_stopped(name)
    first = stops[0]
    assert first.birth.op == fault.op
    assert (first.birth.iteration, first.birth.phase) == (fault.iteration, fault.phase)
    assert first.birth.source.line == fault.line
    assert str(first.where) == str(first.birth.position)
    assert first.birth.operands


@pytest.mark.parametrize("name", sorted(set(FAULTS) - set(NOT_FINITE)))
def test_and_nowhere_else(name):
    assert where_it_stopped(name)[1] == []


def test_a_fault_that_surfaces_one_iteration_later_is_followed_back():
    fault, p = FAULTS["born_in_one_iteration"], Params(FAULTS["born_in_one_iteration"])
    with gradviz.capture(p) as cap:
        train(fault, p)
    assert [np.isnan(frame.values[-1]) for frame in cap.frames] == [False, False, True, True]
    births = [Debugger(cap).blame(kind) for kind in (None, "nan", "inf")]
    assert {(str(birth.position), birth.op) for birth in births} == {("1.b.4", "sqrt")}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_assert_finite_says_what_blame_says(name):
    fault, p = FAULTS[name], Params(FAULTS[name])
    with gradviz.capture(p) as cap:
        train(fault, p)
    with pytest.raises(GradientError) as caught:
        assert_finite(cap)
    assert str(caught.value) == str(Debugger(cap).blame())


# -- stepping ----------------------------------------------------------------------------------------


def mlp():
    net = Sequential(Linear(3, 4), torch.nn.Tanh(), Linear(4, 2))
    x, y = torch.randn(5, 3), torch.tensor([0, 1, 1, 0, 1])
    return net, lambda: torch.nn.functional.cross_entropy(net(x), y)


def residual():
    inner, last = Linear(3, 3), Linear(3, 1)
    x = torch.randn(4, 3)

    def loss():
        h = x
        for _ in range(2):
            h = h + torch.relu(inner(h))
        return last(h).square().mean()

    return Sequential(inner, last), loss


def tied():
    table = torch.nn.Embedding(5, 3)
    words = torch.tensor([[0, 3], [2, 2], [4, 1]])

    def loss():
        h = table(words).mean(1)
        return torch.nn.functional.cross_entropy(h @ table.weight.T, words[:, 0])

    return table, loss


def several():
    net = Linear(3, 6)
    x = torch.randn(4, 3)

    def loss():
        a, b, c = net(x).split(2, dim=1)
        top, _ = a.max(dim=1)
        left, right = torch.unbind(b, 1)
        return (top * left.sigmoid() - right).abs().mean() + c.var()

    return net, loss


def in_place():
    net = Linear(3, 4)
    x = torch.randn(4, 3)

    def loss():
        h = net(x)
        h = h * 2
        h.add_(1.0)
        h[:, 1] = h[:, 0].clone() * 3
        h.mul_(2.0)
        return h.tanh().sum()

    return net, loss


def scalars():
    w, b = Parameter(torch.tensor(2.0)), Parameter(torch.tensor(-0.5))
    both = Module()
    both.w, both.b = w, b
    return both, lambda: (w * w * b + torch.exp(b) * w) ** 2


PROGRAMS = [mlp, residual, tied, several, in_place, scalars]


def captured(program, steps=1, lr=0.1):
    net, loss_of = program()
    with gradviz.capture(net) as cap:
        for _ in range(steps):
            net.zero_grad()
            loss = loss_of()
            loss.backward()
            with torch.no_grad():
                for w in net.parameters():
                    w.sub_(lr * w.grad)
    return cap


def bits(frame):
    return [(x if x is None else np.asarray(x).tobytes()) for x in (*frame.values, *frame.grads)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_going_back_undoes_every_event_to_the_bit(program):
    d = Debugger(captured(program, 2))
    seen = [(d.where, bits(d.frame))]
    while not d.at_end:
        d.step()
        if d.where == seen[-1][0]:
            break
        seen.append((d.where, bits(d.frame)))
    assert {place.phase for place, _ in seen} == {"forward", "backward", "update"}
    for place, there in reversed(seen):
        assert (d.where, bits(d.frame)) == (place, there)
        d.back()
    for place, there in seen[:: max(1, len(seen) // 7)]:
        assert bits(d.seek(place) and d.frame) == there


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_gradient_is_explained(program):
    d = Debugger(captured(program))
    assert not [str(step) for step in d.cursor.steps if step.is_unexplained]
    for node in d.graph:
        if d.full.grads[node.id] is not None:
            for by in ("edges", "paths", "elements"):
                assert d.why(node.name, by=by).adds_up, (node.name, by)


@pytest.mark.parametrize("program", PROGRAMS)
def test_gradients_worked_out_are_those_of_backward(program):
    full = captured(program).frame()
    assert isinstance(full.edges, RuleEdges)
    again = with_gradients(without_gradients(full))
    for node, one, other in zip(full.graph, full.grads, again.grads, strict=True):
        assert (one is None) == (other is None), node
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7, err_msg=node.name)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_backward_of_every_op_agrees_with_differences(program):
    assert Debugger(captured(program)).check(repeats=2) == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_after_the_fact_values_and_gradients_are_those_of_the_capture(program):
    net, loss_of = program()
    loss = loss_of()
    d = Debugger(loss, params=dict(net.named_parameters()))
    assert not [step for step in d.cursor.steps if step.phase == "backward" and step.grad is None and step.node.shape]
    found = {name: d.full.grad(name) for name, _ in net.named_parameters()}
    assert all(w.grad is None for w in net.parameters())
    loss.backward()
    for name, w in net.named_parameters():
        np.testing.assert_allclose(found[name], w.grad.numpy(), rtol=1e-6, atol=1e-7)


def test_steps_and_their_words():
    w = torch.tensor([1.0, 4.0], requires_grad=True)
    with gradviz.capture() as cap:
        low, high = torch.aminmax(w.sqrt())
        loss = high - low
        loss.backward()
    texts = [str(step) for step in gradviz.steps(cap.frame())]
    assert any("d/d(high) = 1, a result of aminmax_1" in text for text in texts)
    assert any(text.endswith("d/d(sqrt_1) += d(aminmax_1)/d(sqrt_1) * d/d(aminmax_1) = [-1, 1]") for text in texts)
    assert gradviz.steps(loss if loss.grad_fn is None else cap.frame())[0].value is not None
    assert [str(s) for s in gradviz.steps(w.prod() * 2)][-1].endswith("d/d(w) = [8, 2] (complete)")


def test_watch_last_first_and_diff():
    d = Debugger(captured(scalars, 4))
    d.seek("3.f.0")
    assert (str(d.last("w").position), d.last("w").new) == ("2.u.0", d.full.value("w"))
    d.watch("w")
    d.run_back()
    assert (d.where.iteration, d.where.phase, d.event.node.name) == (2, "update", "w")
    assert d.evaluate("w@3 - w@2") == pytest.approx(-0.1 * d.evaluate("w.grad"), rel=1e-4)
    assert str(d.first("norm(w.grad) > 0")).startswith("0.b")
    assert d.diff(1, 2).forward[0].a.name in {"w", "b"}


def test_the_samples_of_a_batch():
    d = Debugger(captured(mlp))
    found = d.why("2.bias", by="samples")
    assert found.adds_up
    assert len(found) == 5


def test_what_if_within_an_iteration():
    d = Debugger(captured(scalars, 2))
    w, b = d.full.value("w"), d.full.value("b")
    found = d.whatif(w=1.0)
    assert found.losses[0][1] == pytest.approx((b + np.exp(b)) ** 2, rel=1e-6)
    assert found.frame.grad("w") == pytest.approx(2 * (b + np.exp(b)) * (2 * b + np.exp(b)), rel=1e-6)
    assert d.full.value("w") == w


def test_what_an_optimizer_did_is_not_done_again():
    net, loss_of = mlp()
    opt = torch.optim.Adam(net.parameters())
    with gradviz.capture(net) as cap:
        for _ in range(3):
            opt.zero_grad()
            loss_of().backward()
            opt.step()
    d = Debugger(cap)
    for question in (lambda: d.whatif({"0.bias": 1.0}, count=1), lambda: d.whatif(lr=0.1)):
        with pytest.raises(GradvizValueError, match=r"(?s)of PyTorch ask about one iteration"):
            question()


def test_what_if_of_a_result_cuts_what_it_was_made_of():
    d = Debugger(captured(several))
    whole = next(n for n in d.graph if n.op == "max")
    top = d.graph.nodes[d.graph.consumers(whole)[0]].name
    found = d.whatif({top: 0.0})
    assert found.frame.grad("weight") is not None
    assert not np.any(found.frame.value(top))
    assert found.frame.grad(top) is not None
    assert found.frame.grad(whole.inputs[0]) is None


def test_what_cannot_be_asked_of_a_file_says_so(tmp_path):
    net, loss_of = mlp()
    with gradviz.trace(tmp_path / "run", model=net, level="full") as log:
        for _ in range(2):
            loss = loss_of()
            loss.backward()
            log.step(loss)
    d = Debugger(gradviz.open_run(tmp_path / "run"))
    assert d.why("2.bias").adds_up
    for question in (lambda: d.whatif({"0.bias": 0.0}), d.check, lambda: d.blame("wrong")):
        with pytest.raises(GradvizValueError, match=r"(?s)the functions are not in it.*gradviz\.capture"):
            question()
    assert d.blame() is None


# -- what an op needs ---------------------------------------------------------------------------------


def frame_of(function, *tensors):
    with gradviz.capture() as cap:
        out = function(*tensors)
        out.sum().backward()
    return cap.frame()


def test_which_elements_are_needed():
    x = torch.arange(6.0).reshape(2, 3).requires_grad_()
    full = frame_of(lambda x: x.softmax(1), x)
    node = next(n for n in full.graph if n.op == "softmax")
    mask = np.zeros((2, 3), bool)
    mask[1, 2] = True
    assert full.edges.needed(node.id, 0, mask).tolist() == [[False] * 3, [True] * 3]
    assert not full.edges.is_elementwise(node.id)

    full = frame_of(lambda x: torch.where(x > 2, x, -x), x)
    node = next(n for n in full.graph if n.op == "where")
    assert full.edges.needed(node.id, 1, mask).tolist() == mask.tolist()
    assert not full.edges.needed(node.id, 2, mask).any()


def test_a_result_of_several_stands_alone_when_unpacked():
    full = captured(several).frame()
    flat = unpacked(full)
    parts = [n for n in full.graph if n.op == "getitem" and flat.graph.nodes[n.id].op != "getitem"]
    assert {flat.graph.nodes[n.id].op for n in parts} == {"split", "max", "unbind"}
    for node in parts:
        (src,) = flat.graph.nodes[node.id].inputs
        if full.grads[node.id] is not None:
            assert np.shape(flat.edge_grad(src, node.id)) == full.graph.nodes[src].shape
    assert unpacked(flat) is flat


@pytest.mark.parametrize(
    "function",
    [
        lambda w: w.masked_fill(torch.eye(3).bool(), float("-inf")).softmax(1).square().sum(),
        lambda w: (w + torch.triu(torch.full((3, 3), float("-inf")), 1)).softmax(1).square().sum(),
        lambda w: torch.where(torch.eye(3).bool(), float("-inf"), w).exp().sum(),
        lambda w: w.clamp(max=float("inf")).sum(),
    ],
)
def test_infinities_that_are_meant_are_no_births(function):
    w = torch.randn(3, 3, requires_grad=True)
    with gradviz.capture() as cap, gradviz.debugging(stop="raise"):
        function(w).backward()
    assert Debugger(cap).blame() is None
    assert_finite(cap)


def test_rows_that_are_masked_out_altogether():
    w = torch.randn(3, 3, requires_grad=True)
    with gradviz.capture() as cap:
        hidden = torch.tensor([[True] * 3, [False, True, False], [False] * 3])
        attention = w.masked_fill(hidden, -torch.inf)
        attention.softmax(1).sum().backward()
    birth = Debugger(cap).blame()
    assert (birth.op, birth.kind, birth.phase) == ("softmax", "nan", "forward")
    assert "rows" in birth.advice


def test_a_nan_that_goes_through_an_op_with_several_results():
    w = torch.tensor([[1.0, -1.0, 2.0, 3.0]], requires_grad=True)
    with gradviz.capture() as cap:
        a, b = w.log().chunk(2, 1)
        top, _ = a.max(1)
        loss = top.sum() + b.sum()
        loss.backward()
    birth = Debugger(cap).blame()
    assert (birth.op, birth.index) == ("log", (0, 1))
    d = Debugger(cap)
    d.break_at("nan")
    d.run()
    assert d.event.node.op == "log"


def test_a_nan_made_by_an_op_with_several_results():
    w = torch.eye(3, requires_grad=True)
    with gradviz.capture() as cap:
        values, vectors = torch.linalg.eigh(w)
        (values.sum() + vectors.abs().sum()).backward()
    birth = Debugger(cap).blame()
    assert (birth.op, birth.phase, birth.node.name) == ("linalg_eigh", "backward", "vectors")


# -- functions of one's own ---------------------------------------------------------------------------


class Scaled(torch.autograd.Function):
    """Two results, one argument that is no tensor, right."""

    @staticmethod
    def forward(ctx, x, k, y):
        ctx.save_for_backward(x, y)
        ctx.k = k
        return x * k * y, x + 1

    @staticmethod
    def backward(ctx, a, b):
        x, y = ctx.saved_tensors
        return a * ctx.k * y + b, None, a * x * ctx.k


class Failing(Cube):
    @staticmethod
    def backward(ctx, g):
        raise ZeroDivisionError("no derivative today")


class Single(torch.autograd.Function):
    """Takes single precision only."""

    @staticmethod
    def forward(ctx, x):
        assert x.dtype == torch.float32
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x.cos()


scaled = Scaled.apply


def test_a_wrong_function_is_named():
    w = torch.tensor([0.5, 2.0], requires_grad=True)
    with gradviz.capture() as cap:
        y = Cube.apply(w)
        loss = y.sum()
        loss.backward()
    (found,) = Debugger(cap).check()
    assert (found.node.op, found.node.name, found.arg) == ("Cube", "y", 0)
    assert found.rule == pytest.approx(found.numerical * 2 / 3, rel=1e-6)
    assert found.source.line == inspect.getsourcelines(test_a_wrong_function_is_named)[1] + 3
    with pytest.raises(GradientError, match=r"the rule of Cube for argument 0 of y: the rule says"):
        assert_grads(cap)
    assert Debugger(cap).blame().kind == "wrong"


@pytest.mark.parametrize("apply", [Scaled.apply, scaled])
def test_a_right_one_is_not(apply):
    w = torch.ones(2, requires_grad=True)
    z = torch.tensor([3.0, 4.0], requires_grad=True)
    with gradviz.capture() as cap:
        a, b = apply(w * 2, 3, z)
        (a * b).sum().backward()
    d = Debugger(cap)
    assert d.check() == []
    assert next(n for n in d.graph if n.op == "Scaled").source is not None
    assert all(d.why(name, by="paths").adds_up for name in ("w", "z"))


def test_captures_within_captures_see_the_same():
    w = torch.tensor([0.5, 2.0], requires_grad=True)
    cube = Cube.apply
    with gradviz.capture() as outer, gradviz.capture() as inner:
        (Cube.apply(w) + cube(w)).sum().backward()
    for cap in (outer, inner):
        assert [n.op for n in cap.frame().graph if n.kind == "op"] == ["Cube", "Cube", "add", "sum"]
    assert len(Debugger(outer).check()) == len(Debugger(inner).check()) == 2


def test_one_that_takes_single_precision_only():
    w = torch.tensor([0.5, 2.0], requires_grad=True)
    with gradviz.capture() as cap:
        Single.apply(w).sum().backward()
    assert Debugger(cap).check() == []


def test_one_that_raises():
    w = torch.tensor([0.5, 2.0], requires_grad=True)
    with gradviz.capture() as cap:
        loss = Failing.apply(w).sum()
        found = Debugger(loss)
        with pytest.raises(ZeroDivisionError):
            loss.backward()
    assert found.full.grad("w") is None
    del cap


def test_random_numbers_are_the_same_again_and_the_program_keeps_its_own():
    w = torch.ones(100, requires_grad=True)
    with gradviz.capture() as cap:
        torch.nn.functional.dropout(w, 0.5).sum().backward()
    before = torch.get_rng_state()
    d = Debugger(cap)
    assert d.why("w").adds_up
    assert d.check() == []
    assert torch.equal(torch.get_rng_state(), before)


def test_complex_and_half_precision():
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    with gradviz.capture() as cap:
        z = torch.complex(w, w * 2)
        low = (z.abs().to(torch.bfloat16) * 3).float()
        low.sum().backward()
    d = Debugger(cap)
    assert d.check() == []
    assert d.why("w").adds_up


# -- assertions --------------------------------------------------------------------------------------


def test_assertions_on_a_loss_and_its_model():
    net, loss_of = mlp()
    params = dict(net.named_parameters())
    assert_finite(loss_of(), params=params)
    assert_grads(loss_of(), params=net)
    assert_reaches("0.weight", "loss", loss_of(), params=params)
    assert all(w.grad is None for w in net.parameters())


def test_assert_reaches_names_what_cuts():
    w = torch.ones(2, requires_grad=True)
    v = torch.ones(2, requires_grad=True)
    with gradviz.capture() as cap:
        loss = ((w * 2).detach() * v).sum()
        loss.backward()
    assert_reaches("v", "loss", cap)
    with pytest.raises(GradientError, match=r"from loss back to w: the derivative of detach \(detach_1\) is 0"):
        assert_reaches("w", "loss", cap)


def test_assert_same():
    one, other = captured(mlp).frame(), None
    torch.manual_seed(0)
    other = captured(mlp).frame()
    assert_same(one, other)
    w = torch.ones(2, requires_grad=True)
    a = gradviz.frame((w * 2).sum())
    with torch.no_grad():
        w += 1
    with pytest.raises(GradientError, match="values differ"):
        assert_same(a, gradviz.frame((w * 2).sum()))


# -- live --------------------------------------------------------------------------------------------


def test_a_stop_in_the_forward_pass_is_in_the_users_line():
    w = torch.tensor([1.0, -2.0], requires_grad=True)
    with pytest.raises(StoppedError) as caught, gradviz.debugging(break_on=["nan", "inf"]):  # noqa: PT012
        y = torch.log(w)
        y.sum()
    text = str(caught.value)
    assert "nan: born at 0.f.1 (forward), y = log(w) makes nan at [1]" in text
    assert "test_torch_debugger.py" in text
    assert "there: w = -2" in text
    assert "torch.log(w.clamp(min=eps))" in text
    here = caught.traceback[0]
    assert (here.path.name, str(here.statement).strip()) == (Path(__file__).name, "y = torch.log(w)")
    assert caught.value.debugger["w"].value.tolist() == [1.0, -2.0]
    assert caught.value.debugger.evaluate("w.shape") == (2,)


def test_and_in_the_backward_pass_at_the_call_of_backward():
    w = torch.tensor([4.0, 0.0], requires_grad=True)
    with pytest.raises(StoppedError) as caught, gradviz.debugging():  # noqa: PT012
        for _ in range(3):
            loss = torch.sqrt(w).sum()
            loss.backward()
    assert "inf: born at 0.b.1 (backward), sqrt_1 = sqrt(w) sends inf to w[1]" in str(caught.value)
    assert str(caught.traceback[0].statement).strip() == "loss.backward()"


def test_a_stop_within_a_module_and_within_a_function_of_ones_own():
    class Net(Module):
        def __init__(self):
            super().__init__()
            self.lin = Linear(2, 2)

        def forward(self, x):
            return self.lin(x) / 0.0

    class Logged(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.log()

        @staticmethod
        def backward(ctx, g):
            return g

    stops = []
    with gradviz.debugging("inf", stop=stops.append):
        Net()(torch.ones(1, 2))
    assert stops[0].birth.op == "div"
    assert stops[0].birth.source.code == "return self.lin(x) / 0.0"
    stops.clear()
    with gradviz.debugging("nan", stop=stops.append):
        Logged.apply(torch.tensor([-1.0], requires_grad=True))
    assert stops[0].birth.op == "Logged"


def test_what_went_on_is_not_stopped_at_again():
    w = torch.tensor([-1.0], requires_grad=True)
    stops = []
    with gradviz.debugging(stop=stops.append):
        for _ in range(2):
            w.grad = None
            torch.log(w).sum().backward()
    assert [str(d.where) for d in stops] == ["0.f.1", "1.f.1"]


def test_other_things_to_stop_for():
    net = Sequential(Linear(2, 2), torch.nn.Tanh())
    seen = []
    line = inspect.getsourcelines(test_other_things_to_stop_for)[1] + 9
    with gradviz.debugging(
        ["op:tanh", "scope:enc.*", f":{line}", "norm(w.grad) > 1", "over:float16", "large"],
        stop=lambda d: seen.append((d.stop.reason.split(": ")[0], d.event.node.op)),
    ):
        w = torch.tensor([3.0, 300.0], requires_grad=True)
        big = w * 2
        y = net(big) + 1
        large = big - 1
        (y.sum() + (big * large).sum()).backward()
    assert ("op:tanh", "tanh") in seen
    assert (f":{line}", "mul") in seen
    assert ("large", "sub") in seen
    assert ("over:float16", "mul") in seen
    assert any(text == "norm(w.grad) > 1" for text, _ in seen)


def test_the_prompt_in_a_stopped_program(typed, capsys):
    typed("p scale, w", "blame", "l", "c")
    scale = 3
    w = torch.tensor([-1.0 * scale, 1.0], requires_grad=True)
    with gradviz.debugging(stop="prompt"):
        torch.log(w).sum()
    said = capsys.readouterr().out
    assert "stopped at test_torch_debugger.py" in said
    assert "(3, [-3, 1])" in said
    assert "log_1 = log(w) makes nan" in said


def test_a_breakpoint_in_a_captured_loop(typed, capsys):
    typed("p i, net.weight.shape", "why weight", "it 0", "rc", "it 1", "p loss@0 - loss@1", "c")
    net, x = Linear(3, 1), torch.randn(4, 3)
    with gradviz.capture(net):
        for i in range(3):
            net.zero_grad()
            loss = net(x).square().mean() + 0 * i
            loss.backward()
            gradviz.breakpoint(when="iteration == 1")
            with torch.no_grad():
                net.weight -= 0.1 * net.weight.grad
    said = capsys.readouterr().out
    assert "iteration 1 at test_torch_debugger.py" in said
    assert "(1, (1, 3))" in said
    assert "they add up" in said
    assert "***" not in said.replace("*** no", "")
    assert i == 2


def test_a_breakpoint_after_the_fact(typed, capsys):
    typed("why w", "c", "why w", "blame", "c")
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    loss = w.exp().sum()
    gradviz.breakpoint()
    loss.backward()
    gradviz.breakpoint(loss, when="norm(w.grad) > 1")
    said = capsys.readouterr().out
    assert said.count("iteration 0 at") == 2
    assert "they add up exactly" in said
    assert "the values inside are gone" in said
    assert "gradviz.capture" in said


def test_a_breakpoint_takes_only_what_has_a_graph():
    with pytest.raises(GradvizTypeError):
        gradviz.breakpoint(3.0)
    x = torch.ones(3)
    with pytest.raises(GradvizValueError, match="the Tensors there are x"):
        gradviz.breakpoint()
    del x


def test_debug_of_a_loss_a_function_and_a_capture(typed):
    w = torch.tensor([1.0, 2.0], requires_grad=True)

    def f(scale):
        h = w * scale
        return h.sum()

    typed()
    d = gradviz.debug(f, 2.0)
    assert d["h"].node.source.code == "h = w * scale"
    assert d.full.grad("w").tolist() == [2.0, 2.0]
    typed()
    assert gradviz.debug(f(3.0)).full.grad("w").tolist() == [3.0, 3.0]
    typed()
    assert len(gradviz.debug(captured(mlp, 3)).timeline.iterations) == 3
    assert w.grad is None


def test_a_capture_without_a_step_says_so():
    with pytest.raises(GradvizValueError, match="recorded no step"):
        Debugger(gradviz.capture())


def test_post_mortem_opens_where_it_failed(typed):
    net = Sequential(Linear(3, 4), Linear(5, 1))

    def run(data):
        gap = net[0](data).mean()
        return net(data) * gap

    typed()
    try:
        run(torch.randn(2, 3))
    except RuntimeError as error:
        d = gradviz.post_mortem(error)
    assert d.event.node.op == "mean"
    assert d.variables.place.startswith("test_torch_debugger.py")
    assert d.evaluate("data.shape") == (2, 3)


def test_nothing_is_recorded_by_asking():
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    with gradviz.capture() as cap:
        loss = w.exp().sum()
        loss.backward()
        d = Debugger(cap)
        d.check()
        d.why("w", by="paths")
        d.whatif({"w": 0.0})
        assert len(cap) == 1
        (w * 2).sum().backward()
    assert [len(frame.graph) for frame in cap] == [3, 3]


def test_guarding_changes_nothing():
    def losses(block):
        torch.manual_seed(1)
        net = Sequential(Linear(3, 8), torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(8), Linear(8, 1))
        opt = torch.optim.Adam(net.parameters())
        found = []
        with block:
            for _ in range(4):
                opt.zero_grad()
                loss = net(torch.randn(6, 3)).square().mean()
                loss.backward()
                opt.step()
                found.append(loss.item())
        return found, [p.detach().clone() for p in (*net.parameters(), *net.buffers())]

    from contextlib import nullcontext

    (one, numbers), (other, others) = losses(nullcontext()), losses(gradviz.debugging())
    assert one == other
    assert all(same_bits(a.numpy(), b.numpy()) for a, b in zip(numbers, others, strict=True))


# -- the command line and pytest -----------------------------------------------------------------------

SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
x = torch.randn(16, 2)
y = (x[:, 0] > 0).long()
opt = torch.optim.SGD(net.parameters(), lr=300.0)
for step in range(4):
    opt.zero_grad()
    scores = net(x)
    p = scores.exp() / scores.exp().sum(1, keepdim=True)
    loss = -torch.log(p[torch.arange(16), y]).mean()
    loss.backward()
    opt.step()
"""


def debugged(tmp_path, script, *commands):
    (tmp_path / "train.py").write_text(textwrap.dedent(script), "utf-8")
    more = [part for command in commands for part in ("-c", command)]
    return subprocess.run(
        [sys.executable, "-m", "gradviz", "debug", "train.py", *more], cwd=tmp_path, capture_output=True, text=True,
        encoding="utf-8", timeout=180, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_verb_on_a_script(tmp_path):
    done = debugged(
        tmp_path, SCRIPT, "when", "blame", "p lr, step, net.0.bias.shape", "it 0", "why 2.bias", "last 2.bias"
    )
    assert "iterations 0 to 3 are here" in done.stdout
    assert "3.f.0" in done.stdout
    assert "exp_1 = exp(scores) makes inf" in done.stdout
    assert "train.py:13  p = scores.exp()" in done.stdout
    assert "they add up" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_verb_on_a_script_that_fails(tmp_path):
    script = """
    import torch
    w = torch.ones(3, requires_grad=True)
    def run(scale):
        h = w.exp() * scale
        return h @ torch.ones(4)
    run(2.0)
    """
    done = debugged(tmp_path, script, "p scale, h")
    assert done.returncode == 1
    assert "train.py failed: RuntimeError" in done.stdout + done.stderr
    assert "(2, [5.43656, 5.43656, 5.43656])" in done.stdout


def test_a_failing_test_says_who_is_to_blame(pytester):
    pytester.makepyfile(
        test_it="""
        import gradviz
        import torch

        def test_loss():
            w = torch.tensor([1.0, -2.0], requires_grad=True)
            with gradviz.capture() as cap:
                loss = torch.log(w).mean()
                loss.backward()
            assert torch.isfinite(loss)

        def test_without_a_capture():
            w = torch.tensor([1.0, -2.0], requires_grad=True)
            loss = torch.log(w).mean()
            assert torch.isfinite(loss)
        """
    )
    done = pytester.runpytest_subprocess("-p", "gradviz_pytest", "-p", "no:cacheprovider", "--gradviz-blame")
    done.assert_outcomes(failed=2)
    text = done.stdout.str()
    assert "cap: nan: born at 0.f.1 (forward), log_1 = log(w) makes nan at [1]" in text
    assert "test_it.py:7  loss = torch.log(w).mean()" in text
    assert "loss: nan: born at 0.f.1 (forward), log_1 = log(w) makes nan at [1]" in text
    assert "torch.log(w.clamp(min=eps))" in text
    assert (pytester.path / ".gradviz-blame" / "test_it.py-test_loss-cap.svg").exists()
