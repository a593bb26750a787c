"""PyTorch as people use it against the grain: odd tensors, tracers, hooks, broken programs, hostile names."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

import gradviz
from gradviz.graphs import Frame
from gradviz.tracing.program import Program

LEVELS = ("full", "stats")


def small():
    """Return a small net, always the same."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


def watched(function, level="full"):
    """Return what a function gives while it is watched, and the capture."""
    with gradviz.capture(level=level) as cap:
        found = function()
    return found, cap


# -- what has no numbers, or no shape ----------------------------------------------------------------


def nested_by_rows():
    a, b = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        n = torch.nested.as_nested_tensor([a, b])
    return torch.nested.to_padded_tensor(n * 2, 0.0).sum()


def nested_jagged():
    a, b = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        n = torch.nested.as_nested_tensor([a, b], layout=torch.jagged)
    return nn.Linear(3, 2)(n).values().sum()


class Inside(torch.Tensor):
    """A tensor without memory of its own: it has another inside."""

    @staticmethod
    def __new__(cls, held):
        made = torch.Tensor._make_wrapper_subclass(cls, held.shape, dtype=held.dtype, requires_grad=held.requires_grad)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        bare = [x.held if isinstance(x, Inside) else x for x in args]
        out = func(*bare, **(kwargs or {}))
        return Inside(out) if isinstance(out, torch.Tensor) else out


def wrapped():
    return (Inside(torch.ones(3)).requires_grad_() * 2).sum()


def on_meta():
    return nn.Linear(3, 2, device="meta")(torch.zeros(4, 3, device="meta")).sum()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("make", [nested_by_rows, nested_jagged, wrapped, on_meta], ids=lambda make: make.__name__)
def test_what_has_no_numbers_has_a_graph(make, level, tmp_path):
    def step():
        loss = make()
        loss.backward()

    _, cap = watched(step, level)
    frame = cap.frame()
    frame.graph.check()
    assert Frame.from_json(frame.to_json()).graph == frame.graph
    gradviz.frame(make()).to_json()
    with Program(tmp_path / "run", level="auto" if level == "full" else level):
        step()
    assert len(gradviz.open_run(tmp_path / "run")) == 1


@pytest.mark.parametrize("level", LEVELS)
def test_gradients_of_many_at_once_are_left_alone(level):
    a = torch.ones(3, requires_grad=True)

    def step():
        y = a * 2
        return torch.autograd.grad(y, a, torch.eye(3), is_grads_batched=True)[0]

    rows, cap = watched(step, level)
    assert torch.equal(rows, 2 * torch.eye(3))
    assert len(cap) == 1


@pytest.mark.parametrize("level", LEVELS)
def test_what_escapes_from_torch_func_has_a_node(level):
    def step():
        back = torch.func.vjp(torch.sin, torch.ones(2))[1](torch.ones(2))
        a = torch.ones(2, requires_grad=True)
        (a * back[0]).sum().backward()

    assert len(watched(step, level)[1]) == 1


# -- programs that are written down instead of run -----------------------------------------------------


def test_a_tracer_of_pytorch_writes_down_what_it_would():
    net, x = small(), torch.ones(2, 3)

    def step(x):
        return torch.autograd.grad(net(x).sum(), list(net.parameters()))

    assert watched(lambda: make_fx(step)(x).code)[0] == make_fx(step)(x).code
    exported = str(torch.export.export(net, (x,)).graph)
    assert watched(lambda: str(torch.export.export(net, (x,)).graph))[0] == exported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = str(torch.jit.trace(net, x).inlined_graph).count("aten::")
        assert str(watched(lambda: torch.jit.trace(net, x))[0].inlined_graph).count("aten::") == traced


@pytest.mark.parametrize("level", LEVELS)
def test_a_mode_of_the_program_sees_nothing_of_the_capture(level):
    class Log(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.seen = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.seen.append(str(func))
            return func(*args, **(kwargs or {}))

    def step():
        net = small()
        with Log() as log:
            net(torch.ones(2, 3)).sum().backward()
        return log.seen

    assert watched(step, level)[0] == step()


# -- steps ---------------------------------------------------------------------------------------------


def test_a_state_that_is_cut_off_ends_there():
    cell = nn.GRUCell(2, 3)
    h = torch.zeros(1, 3)
    with gradviz.capture(cell, keep=4) as cap:
        for _ in range(4):
            h = cell(torch.ones(1, 2), h.detach())
            h.sum().backward()
    sizes = [len(frame.graph) for frame in cap]
    assert sizes[1:] == sizes[1:2] * 3


def test_and_where_it_is_used_uncut_too_it_goes_on():
    w = torch.ones(2, requires_grad=True)
    with gradviz.capture() as cap:
        h = w * 3
        h.sum().backward(retain_graph=True)
        loss = (h.detach() * h).sum()
        loss.backward()
    frame = cap.frame()
    assert frame.grad("w").tolist() == [12.0, 12.0]  # what both passes have left in w.grad
    assert {"mul", "detach"} <= {node.op for node in frame.graph.nodes}


def test_an_optimizer_that_steps_in_a_hook_of_the_backward_pass(tmp_path):
    net = small()
    taken = {}
    names = {p: name for name, p in net.named_parameters()}

    def update(p):
        taken[names[p]] = p.grad.clone()
        each[p].step()
        each[p].zero_grad()

    each = {p: torch.optim.SGD([p], 0.1) for p in net.parameters()}
    for p in net.parameters():
        p.register_post_accumulate_grad_hook(update)
    with gradviz.trace(tmp_path / "run", model=net) as trace:
        for _ in range(3):
            loss = net(torch.randn(3, 3)).square().mean()
            loss.backward()
            trace.step(loss)
    run = gradviz.open_run(tmp_path / "run")
    assert all(np.array_equal(run.frame(2).grad(name), grad.numpy()) for name, grad in taken.items())
    assert not [finding for finding in run.findings() if finding.severity == "error"]


def test_the_loss_is_the_one_before_it_was_scaled(tmp_path):
    net, scaler, losses = small(), torch.amp.GradScaler("cpu", init_scale=1024.0), []
    opt = torch.optim.SGD(net.parameters(), 0.1)
    with Program(tmp_path / "run"):
        for _ in range(3):
            opt.zero_grad()
            loss = net(torch.ones(2, 3)).square().mean()
            scaler.scale(loss).backward()
            scaler.step(opt)
            scaler.update()
            losses.append(loss.item())
    assert gradviz.open_run(tmp_path / "run").loss.tolist() == losses


def test_the_loss_of_several_numbers_is_what_was_differentiated(tmp_path):
    a = torch.tensor([1.0, 2.0], requires_grad=True)
    with Program(tmp_path / "run"):
        (a * 2).backward(torch.tensor([1.0, 10.0]))
        (a * 1j).backward(torch.tensor([1j, 0.0]))
    assert gradviz.open_run(tmp_path / "run").loss.tolist() == [42.0, 1.0]


def test_an_empty_batch_has_findings(tmp_path):
    with Program(tmp_path / "run"):
        small()(torch.zeros(0, 3)).sum().backward()
    assert gradviz.open_run(tmp_path / "run").loss.tolist() == [0.0]
    gradviz.open_run(tmp_path / "run").findings()


def test_a_write_through_a_view_has_the_line_of_the_writer():
    a = torch.ones(3, requires_grad=True)
    with gradviz.capture() as cap:
        b = a.clone()
        b[0] = 3
        c = b.view(-1)
        c *= 2
        F.relu(b).sum().backward()
    assert all(node.source is not None for node in cap.graph().nodes if node.kind == "op")


def test_an_error_while_the_last_step_is_kept_leaves_nothing_behind():
    def fails(_):
        raise ValueError("full disk")

    cap = gradviz.capture()
    cap.on_step = fails
    with pytest.raises(ValueError, match="full disk"), cap:
        torch.ones(2, requires_grad=True).sum().backward()
    assert torch._C._len_torch_function_stack() == 0
    assert not cap.is_on


@pytest.mark.parametrize("outside", LEVELS)
@pytest.mark.parametrize("inside", LEVELS)
def test_a_capture_around_another_sees_what_it_would_see_alone(outside, inside):
    def step():
        net = small()
        net(torch.ones(4, 3) * 2).pow(2).mean().backward()

    alone = watched(step)[1].graph()
    with gradviz.capture(level=outside) as outer, gradviz.capture(level=inside) as inner:
        step()
    assert [node.name for node in outer.graph()] == [node.name for node in alone]
    assert [node.name for node in inner.graph()] == [node.name for node in alone]


def test_the_compiler_stands_as_it_stood_whichever_capture_ends_last():
    import torch._dynamo.eval_frame as compiler

    before = compiler._stance
    first, second = gradviz.capture().start(), gradviz.capture().start()
    first.stop()
    second.stop()
    assert compiler._stance == before


def test_what_cancels_is_no_error(tmp_path):
    critic = small()  # the last bias of a Wasserstein critic has no gradient: it is in both terms
    opt = torch.optim.SGD(critic.parameters(), 0.01)
    torch.manual_seed(1)
    with gradviz.trace(tmp_path / "run", model=critic, optimizer=opt) as trace:
        for _ in range(4):
            opt.zero_grad()
            loss = critic(torch.randn(4, 3)).mean() - critic(torch.randn(4, 3) + 1).mean()
            loss.backward()
            trace.step(loss)
            opt.step()
    (found,) = [one for one in gradviz.open_run(tmp_path / "run").findings() if one.rule == "zero-gradient"]
    assert found.severity == "note"
    assert "adds up to 0" in str(found)
