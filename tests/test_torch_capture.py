"""`gradviz.capture` in a PyTorch program: what a step is, what it leaves alone, and what it leaves behind: nothing."""

import asyncio
import contextlib
import gc
import os
import threading
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

import gradviz
from gradviz.errors import GradvizIndexError, GradvizTypeError, GradvizValueError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 8)
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x):
        h = torch.relu(self.fc1(x))
        return self.fc2(h)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(5, 4, generator=generator), torch.tensor([0, 1, 2, 0, 1])


def ops(frame):
    return [node.op for node in frame.graph.nodes if node.kind == "op"]


def same(number, tensor):
    return np.array_equal(np.asarray(number, np.float32), tensor.detach().numpy(), equal_nan=True)


# -- what a step is ----------------------------------------------------------------------------


def test_a_step_has_names_values_gradients_scopes_and_lines(net, batch):
    x, y = batch
    with gradviz.capture(net) as cap:
        out = net(x)
        loss = F.cross_entropy(out, y)
        loss.backward()
    frame = cap.frame()
    graph = frame.graph.check()
    assert [node.name for node in graph.nodes] == [
        "x", "fc1.weight", "fc1.bias", "fc1", "h", "fc2.weight", "fc2.bias", "out", "y", "loss",
    ]  # fmt: skip
    assert [graph[name].kind for name in ("x", "fc1.weight", "h")] == ["input", "param", "op"]
    assert graph["fc1"].scope == graph["fc1.weight"].scope == ("fc1",)
    assert graph["h"].source.text == "torch.relu(self.fc1(x))"
    assert graph["h"].source.file == "tests/test_torch_capture.py"
    assert same(frame.value("out"), out)
    assert frame.value("loss") == loss.item()
    for name, p in net.named_parameters():
        assert same(frame.value(name), p)
        assert same(frame.grad(name), p.grad)
    assert frame.meta["how"] == "recorded"
    assert frame.step == 0


def test_every_step_of_a_loop_is_one_frame_of_one_graph(net, batch):
    x, y = batch
    opt = torch.optim.Adam(net.parameters())
    weights = []
    with gradviz.capture(net) as cap:
        for _ in range(4):
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            weights.append(net.fc1.weight.detach().clone())
            opt.step()
            assert (net(x).argmax(1) == y).float().mean() >= 0
    assert (len(cap), cap.steps) == (4, [0, 1, 2, 3])
    for step, weight in enumerate(weights):
        assert same(cap.frame(step).value("fc1.weight"), weight)
        assert cap.frame(step).graph is cap.frame(0).graph
        assert cap.frame(step).step == step
    assert [frame.step for frame in cap] == [0, 1, 2, 3]
    assert cap.graph() is cap.frame().graph


def test_updates_by_hand_are_no_part_of_the_next_step():
    w = torch.tensor(1.0, requires_grad=True)
    with gradviz.capture() as cap:
        for _ in range(3):
            loss = (w - 3) ** 2
            loss.backward()
            with torch.no_grad():
                w -= 0.1 * w.grad
            w.grad = None
        for _ in range(2):
            loss = (w - 3) ** 2
            loss.backward()
            w.data -= 0.1 * w.grad
            w.grad.zero_()
    assert [frame.graph["w"].kind for frame in cap] == ["param"] * 5
    assert [ops(frame) for frame in cap] == [["sub", "pow"]] * 5
    assert [round(frame.value("w"), 4) for frame in cap] == [1.0, 1.4, 1.72, 1.976, 2.1808]


def test_one_element_may_be_changed_by_hand(net, batch):
    x, y = batch
    with gradviz.capture(net) as cap:
        for _ in range(3):
            with torch.no_grad():
                net.fc1.weight[0, 1] += 1e-3
            F.cross_entropy(net(x), y).backward()
            with torch.no_grad():
                net.fc1.weight[0, 1] += 1e-3
    values = [frame.value("fc1.weight")[0, 1] for frame in cap]
    assert [round(float(values[i + 1] - values[i]), 6) for i in (0, 1)] == [0.002, 0.002]
    assert [frame.graph["fc1.weight"].kind for frame in cap] == ["param"] * 3


def test_several_backward_passes_over_one_graph_are_one_step():
    w = torch.tensor(2.0, requires_grad=True)
    with gradviz.capture() as cap:
        h = w * w
        first, second = h * 3, h + 1
        first.backward(retain_graph=True)
        second.backward()
    frame = cap.frame()
    assert len(cap) == 1
    assert (frame.grad("w"), w.grad.item()) == (16.0, 16.0)
    assert frame.grad("h") == 4.0
    assert [frame.graph.nodes[i].name for i in frame.graph.outputs] == ["first", "second"]


def test_torch_autograd_grad_and_backward_end_a_step_too():
    w = torch.tensor(2.0, requires_grad=True)
    with gradviz.capture() as cap:
        (g,) = torch.autograd.grad(w * w, w)
        torch.autograd.backward([w * 3])
    assert [frame.grad("w") for frame in cap] == [4.0, 3.0]
    assert g.item() == 4.0


def test_a_forward_pass_alone_is_a_step_when_the_capture_ends(net, batch):
    with gradviz.capture(net) as cap, torch.no_grad():
        for _ in range(3):  # a look at the model, batch after batch: the last one is kept
            net(batch[0])
    frame = cap.frame()
    assert ops(frame) == ["linear", "relu", "linear"]
    assert not any(grad is not None for grad in frame.grads)


def test_the_last_steps_are_kept(net, batch):
    x, y = batch
    with gradviz.capture(net, keep=2) as cap:
        for _ in range(5):
            F.cross_entropy(net(x), y).backward()
    assert cap.steps == [3, 4]
    assert cap.frame(-2).step == 3
    with pytest.raises(GradvizIndexError, match="there is no step 0: kept are 3 to 4"):
        cap.frame(0)
    with pytest.raises(GradvizIndexError, match="nothing was recorded"):
        gradviz.capture().frame()


def test_wrong_arguments_are_refused(net):
    for wrong, error in (({"model": 3}, GradvizTypeError), ({"level": "all"}, GradvizValueError)):
        with pytest.raises(error):
            gradviz.capture(**wrong)
    with pytest.raises(GradvizValueError, match="keep=0"):
        gradviz.capture(net, keep=0)
    cap = gradviz.capture().start()
    with pytest.raises(GradvizValueError, match="started already"):
        cap.start()
    cap.stop()
    cap.stop()


def test_only_numbers_are_measured_at_the_level_stats(net, batch):
    x, y = batch
    with gradviz.capture(net, level="stats") as cap:
        F.cross_entropy(net(x), y).backward()
    with gradviz.capture(net) as full:
        net.zero_grad()
        F.cross_entropy(net(x), y).backward()
    values, grads = cap.moment().stats()
    for row, grad_row, value, grad in zip(values, grads, full.frame().values, full.frame().grads, strict=True):
        for numbers, known in ((row, value), (grad_row, grad)):
            if known is None:
                assert np.isnan(numbers).all()
                continue
            a = np.asarray(known, float)
            truth = [a.min(), a.max(), a.mean(), np.linalg.norm(a), (a == 0).sum(), 0, 0]
            assert np.allclose(numbers, truth, rtol=1e-5)
    assert set(cap.frame().values) == {None}


def test_a_parameter_that_is_written_to_unseen_is_measured_again():
    w = torch.ones(3, requires_grad=True)
    with gradviz.capture(level="stats") as cap:
        for write in (lambda: None, lambda: w.data.mul_(2), lambda: w.detach().numpy().fill(5), lambda: w.data.add_(1)):
            write()
            w.sum().backward()
    assert [moment.stats()[0][0, 2] for moment in (cap.moment(i) for i in range(4))] == [1, 2, 5, 6]


def test_statistics_of_what_is_not_finite():
    from gradviz.sources.torch.measuring import fetched, measured

    odd = torch.tensor([1.0, float("nan"), float("inf"), -3.0, 0.0, float("-inf")])
    nothing = torch.tensor([float("nan")] * 2)
    for extreme in (1e30, 1e-30, 3e38):
        assert measured(torch.tensor([extreme, 0.0]))[3] == pytest.approx(extreme, rel=1e-6)
    rows = fetched([measured(odd), measured(nothing), measured(torch.zeros(0)), measured(torch.tensor([True, False]))])
    assert rows[0, [0, 1]].tolist() == [-3.0, 1.0]
    assert rows[0, 2] == pytest.approx(-2 / 3)
    assert rows[0, 4:].tolist() == [1, 1, 2]
    assert np.isnan(rows[1, :3]).all()
    assert rows[1, 5] == 2
    assert np.isnan(rows[2]).all()
    assert rows[3, :2].tolist() == [0, 1]


# -- nothing is changed, nothing is left behind ------------------------------------------------


def state():
    """Return everything that a capture puts into PyTorch, as it is now."""
    from torch.nn.modules import module
    from torch.optim import optimizer

    hooks = (module._global_forward_pre_hooks, module._global_forward_hooks, optimizer._global_optimizer_pre_hooks)
    return (
        torch.overrides._get_current_function_mode_stack(),
        torch.autograd.Function.__dict__.get("apply"),
        [len(found) for found in hooks],
        torch.compile,
    )


def test_nothing_is_left_behind(net, batch):
    x, y = batch
    before = state()
    with gradviz.capture(net) as cap:
        out = net(x)
        loss = F.cross_entropy(out, y)
        loss.backward()
    assert state() == before
    assert not out.retains_grad
    assert not any(p._backward_hooks for p in net.parameters())
    with pytest.warns(UserWarning, match="non-leaf"):
        assert out.grad is None
    assert len(cap) == 1


def test_no_tensor_is_kept_alive(net, batch):
    x, y = batch

    def step():
        out = net(x)
        loss = F.cross_entropy(out, y)
        loss.backward()
        return [weakref.ref(t) for t in (out, loss)]

    with gradviz.capture(net) as cap:
        step()
        refs = step()
    gc.collect()
    assert [ref() for ref in refs] == [None, None]
    assert len(cap) == 2


def test_an_error_in_the_block_leaves_nothing_behind(net, batch):
    before = state()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), gradviz.capture(net) as cap:
        net(batch[0].T)
    assert state() == before
    assert ops(cap.frame()) if len(cap) else True
    with gradviz.capture(net) as cap:
        with pytest.raises(RuntimeError):
            net(batch[0].T)
        F.cross_entropy(net(batch[0]), batch[1]).backward()
    assert cap.graph()["fc1"].scope == ("fc1",)


def test_numbers_and_random_numbers_are_what_they_would_be(batch):
    def train(watched):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 3))
        opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        losses = []
        with gradviz.capture(model) if watched else contextlib.nullcontext():
            for _ in range(5):
                opt.zero_grad()
                loss = F.cross_entropy(model(batch[0]), batch[1])
                loss.backward()
                opt.step()
                losses.append(loss.item())
        return losses, [t.clone() for t in model.state_dict().values()], torch.get_rng_state()

    plain, watched = train(False), train(True)
    assert plain[0] == watched[0]
    assert all(torch.equal(a, b) for a, b in zip(plain[1], watched[1], strict=True))
    assert torch.equal(plain[2], watched[2])


def test_captures_and_modes_may_end_in_any_order(net, batch):
    class Mine(TorchFunctionMode):
        seen = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            Mine.seen += 1
            return func(*args, **(kwargs or {}))

    before = state()
    first, second, mine = gradviz.capture(net).start(), gradviz.capture().start(), Mine()
    mine.__enter__()
    F.cross_entropy(net(batch[0]), batch[1]).backward()
    first.stop()
    assert Mine.seen
    (torch.ones(1, requires_grad=True) * 2).backward()
    second.stop()
    assert [type(mode) for mode in torch.overrides._get_current_function_mode_stack()] == [Mine]
    mine.__exit__(None, None, None)
    assert state() == before
    assert (len(first), len(second)) == (1, 2)
    assert ops(first.frame()) == ops(second.frame(0)) == ["linear", "relu", "linear", "cross_entropy"]
    assert ops(second.frame()) == ["mul"]


# -- who else is there -------------------------------------------------------------------------


def test_another_thread_is_not_watched():
    w = torch.tensor(2.0, requires_grad=True)
    results = []

    def work():
        results.append((w * 3) * 5)

    with gradviz.capture() as cap:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        loss = results[0] + w
        loss.backward()
    frame = cap.frame()
    assert ops(frame) == ["mul", "add"]  # what it has made is one node, from what is known of it
    name = "results[0]"
    assert frame.graph.nodes[frame.graph[name].inputs[0]].name == "w"
    assert (frame.value(name), frame.grad(name), frame.grad("w")) == (30.0, 1.0, 16.0)


def test_a_generator_that_waits_records_nothing_of_others():
    w = torch.tensor(2.0, requires_grad=True)
    caps = []

    def generate():
        with gradviz.capture() as cap:
            caps.append(cap)
            yield w * 3
            yield w * 4

    generator = generate()
    first = next(generator)
    first = first + 100
    second = next(generator)
    torch.exp(w)
    generator.close()
    assert ops(caps[0].frame()) == ["mul", "mul"]
    assert (first + second).item() == 114.0


def test_the_body_of_a_context_manager_is_the_callers_code():
    @contextlib.contextmanager
    def watching():
        with gradviz.capture() as cap:
            yield cap

    with watching() as cap:
        (torch.tensor(2.0, requires_grad=True) * 3).backward()
    assert ops(cap.frame()) == ["mul"]


def test_coroutines_do_not_record_each_other():
    w = torch.tensor(2.0, requires_grad=True)

    async def work(factor):
        with gradviz.capture() as cap:
            h = w * factor
            await asyncio.sleep(0)
            h = h + factor
            await asyncio.sleep(0)
            (h**2).backward()
        return cap

    async def main():
        return await asyncio.gather(work(3.0), work(4.0))

    before = state()
    caps = asyncio.run(main())
    assert [ops(cap.frame()) for cap in caps] == [["mul", "add", "pow"]] * 2
    assert [cap.frame().value("pow_1") for cap in caps] == [81.0, 144.0]
    assert state() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_the_child_of_a_fork_records_nothing():
    w = torch.tensor(2.0, requires_grad=True)
    with gradviz.capture() as cap:
        pid = os.fork()
        if pid == 0:
            h = w * 3
            os._exit(0 if h.item() == 6.0 and not cap._tape.calls else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        (w * 5).backward()
    assert ops(cap.frame()) == ["mul"]


def test_workers_of_a_data_loader_go_on(batch):
    from torch.utils.data import DataLoader, TensorDataset

    w = torch.zeros(4, requires_grad=True)
    with gradviz.capture() as cap:
        for (rows,) in DataLoader(TensorDataset(batch[0]), batch_size=2, num_workers=1):
            (rows @ w).sum().backward()
    assert [ops(frame) for frame in cap] == [["matmul", "sum"]] * 3


# -- hard cases --------------------------------------------------------------------------------


def test_a_function_of_ones_own_is_one_node_with_its_own_gradient():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, factor):
            return torch.exp(x) * 0 + x * factor

        @staticmethod
        def backward(ctx, g):
            return g * 7, None

    w = torch.tensor(2.0, requires_grad=True)
    with gradviz.capture() as cap:
        loss = Double.apply(w, 2) + 1
        loss.backward()
    frame = cap.frame()
    assert ops(frame) == ["Double", "add"]
    assert (frame.grad("w"), frame.edge_grad("w", "Double_1")) == (7.0, 7.0)
    assert frame.edges.sent(1, 0, 1.0) == 7.0


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_a_checkpointed_block_runs_as_often_as_it_would(use_reentrant):
    calls = []

    def block(x):
        calls.append(1)
        return torch.exp(x * 2)

    w = torch.tensor(0.5, requires_grad=True)
    with gradviz.capture() as cap:
        loss = checkpoint(block, w, use_reentrant=use_reentrant) + 1
        loss.backward()
    frame = cap.frame()
    assert len(calls) == 2
    assert frame.grad("w") == w.grad.item()
    assert ops(frame) == (["CheckpointFunction", "add"] if use_reentrant else ["mul", "exp", "add"])
    assert len(calls) == 2


def test_a_compiled_model_runs_eagerly_while_it_is_watched(net, batch):
    compiled = torch.compile(net, backend="eager")
    compiled(batch[0])
    with gradviz.capture(net) as cap:
        F.cross_entropy(compiled(batch[0]), batch[1]).backward()
    assert ops(cap.frame()) == ["linear", "relu", "linear", "cross_entropy"]
    assert cap.graph()["fc1"].scope == ("fc1",)
    again = torch.compile(lambda x: x.sin().sum(), backend="eager")
    w = torch.ones(3, requires_grad=True)
    with gradviz.capture() as cap:
        again(w).backward()
    assert ops(cap.frame()) == ["sin", "sum"]
    assert again(w).item() == pytest.approx(np.sin(1) * 3)


def test_what_is_compiled_in_the_block_runs_eagerly():
    w = torch.ones(3, requires_grad=True)
    with gradviz.capture() as cap:
        compiled = torch.compile(lambda x: x.cos().sum(), backend="eager")
        compiled(w).backward()
    assert ops(cap.frame()) == ["cos", "sum"]


def test_writing_in_place_and_through_views():
    w = torch.arange(4.0, requires_grad=True)
    with gradviz.capture() as cap:
        h = w * 2
        h[0] = w[1] * 5
        h.mul_(3)
        view = h[1:]
        view.add_(1)
        loss = (h * h).sum()
        loss.backward()
    frame = cap.frame()
    value = frame.value
    assert value("w").tolist() == [0, 1, 2, 3]
    last = frame.graph.nodes[frame.graph["loss"].inputs[0]]
    operand = frame.graph.nodes[last.inputs[0]]
    assert frame.values[operand.id].tolist() == [15.0, 7.0, 13.0, 19.0]
    assert frame.grads[operand.id].tolist() == [30.0, 14.0, 26.0, 38.0]
    assert same(frame.grad("w"), w.grad)
    assert {"setitem", "mul_", "add_", "update"} <= set(ops(frame))
    assert "w" in [frame.graph.nodes[i].name for i in frame.graph.ancestors(operand)]


def test_vmap_and_grad_are_taken_as_a_whole():
    w = torch.arange(3.0, requires_grad=True)
    with gradviz.capture() as cap:
        mapped = torch.vmap(lambda x: x * x)(w)
        slopes = torch.func.grad(lambda x: (x**3).sum())(torch.ones(3))
        loss = (mapped * slopes).sum()
        loss.backward()
    frame = cap.frame()
    assert frame.value("loss") == 15.0
    assert frame.grad("w").tolist() == [0.0, 6.0, 12.0]
    assert frame.value("slopes").tolist() == [3, 3, 3]
    assert same(frame.grad("w"), w.grad)


def test_a_name_is_given_by_the_model_or_the_variable():
    first, second = nn.Linear(2, 2), nn.Linear(2, 1)
    data = torch.ones(1, 2)
    with gradviz.capture() as cap:
        loss = second(first(data)).sum()
        loss.backward()
    names = [node.name for node in cap.graph().nodes]
    assert names[:3] == ["data", "weight", "bias"]
    assert "Linear.weight" in names


def test_data_without_a_variable_is_named_as_the_model_names_it(net):
    with gradviz.capture(net) as cap:
        F.cross_entropy(net(torch.ones(2, 4)), target=torch.tensor([0, 1])).backward()
    assert [node.name for node in cap.graph().nodes if node.kind == "input"] == ["x", "input_1"]


def test_a_later_step_may_go_on_with_results_of_the_one_before():
    torch.manual_seed(0)
    generator, critic = nn.Sequential(nn.Linear(2, 3), nn.Tanh()), nn.Linear(3, 1)
    both = nn.ModuleDict({"generator": generator, "critic": critic})
    first, second = (torch.optim.SGD(m.parameters(), lr=0.1) for m in (generator, critic))
    with gradviz.capture(both) as cap:
        for _ in range(2):
            noise = torch.randn(4, 2)
            fake = generator(noise)
            second.zero_grad()
            critic(fake.detach()).mean().backward()
            second.step()
            first.zero_grad()
            loss = -critic(fake).mean()
            loss.backward()
            first.step()
            truth = {name: p.grad.clone() for name, p in generator.named_parameters()}
    assert [ops(frame) for frame in cap] == [
        ["linear", "tanh", "detach", "linear", "mean"],
        ["linear", "tanh", "linear", "mean", "neg"],
    ] * 2
    frame = cap.frame()
    assert same(frame.value("fake"), fake)
    assert frame.graph["fake"].source.text == "generator(noise)"
    assert frame.grad("fake").shape == (4, 3)
    for name, g in truth.items():
        assert same(frame.grad(f"generator.{name}"), g)
    assert frame.edge_grad("generator.0", "fake") is not None


def test_a_state_that_is_carried_on_grows_as_its_graph_does():
    w = torch.tensor(0.5, requires_grad=True)
    h = torch.tensor(1.0)
    with gradviz.capture() as cap:
        for _ in range(3):
            h = torch.tanh(h * w)
            h.backward(retain_graph=True)
    assert [ops(frame) for frame in cap] == [["mul", "tanh"] * k for k in (1, 2, 3)]
    for frame in cap:
        frame.graph.check()
        assert len([node for node in frame.graph.nodes if node.kind == "param"]) == 1


def test_steps_that_differ_in_a_parameter_alone_are_told_apart():
    pair = nn.ModuleDict({"a": nn.Linear(2, 1), "b": nn.Linear(2, 1)})
    x = torch.ones(1, 2)
    with gradviz.capture(pair) as cap:
        for name in ("a", "b", "a"):
            loss = pair[name](x).sum()
            loss.backward()
    names = ["a.weight", "b.weight", "a.weight"]
    for frame, name in zip(cap, names, strict=True):
        assert same(frame.value(name), pair[name[0]].weight)


def test_a_long_chain(batch):
    w = torch.tensor(1.0, requires_grad=True)
    with gradviz.capture() as cap:
        h = w
        for _ in range(20_000):
            h = h * 1.0
        h.backward()
    assert len(cap.graph()) >= 20_001
    assert cap.frame().grad("w") == 1.0
