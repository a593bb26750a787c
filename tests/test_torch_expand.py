"""One call of PyTorch opened to its aten operations: values and gradients inside beside the truth."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

import gradviz  # noqa: E402
from gradviz.errors import GradvizValueError, GraphError, UnknownNameError  # noqa: E402
from gradviz.graphs.plain import same_bits  # noqa: E402
from gradviz.sources.torch.expanding import expanded, inside  # noqa: E402
from gradviz.sources.torch.recorder import Capture  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*CPU.*")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def recorded(step, model=None):
    """The frame of one step: ``step()`` gives the loss."""
    with Capture(model) as cap:
        loss = step()
        loss.backward()
    return cap.frame()


def doubles(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def bits(number, t):
    """Tell whether a number of a frame has the bits of a tensor."""
    t = t.detach().numpy()
    return same_bits(number, float(t) if t.ndim == 0 else t)


def unchanged(before, after):
    """Check what every expansion keeps: the laws of graphs, and name, value and gradient of everything outside."""
    after.graph.check()
    for node in before.graph:
        if before.value(node) is not None:
            same = after.graph[node.name]
            assert same_bits(before.value(node), after.value(same)), node.name
            assert same_bits(before.grad(node), after.grad(same)), node.name
            assert (same.shape, same.dtype, same.source) == (node.shape, node.dtype, node.source)
    assert [after.graph.nodes[i].name for i in after.graph.outputs] == [
        before.graph.nodes[i].name for i in before.graph.outputs
    ]


def add_up(frame, but=()):
    """Check that the gradient of every op is what its users send: each op is called again on its own."""
    checked = 0
    for node in frame.graph:
        users = [(dst, arg) for src, dst, arg in frame.graph.edges if src == node.id]
        if node.kind != "op" or frame.grad(node) is None or node.id in frame.graph.outputs or node.op in but:
            continue
        if any(frame.graph.nodes[dst].op in {*but, "getitem"} for dst, _ in users):
            continue
        sent = [frame.edges.sent(dst, arg, frame.grads[dst]) for dst, arg in users]
        total = sum(g for g in sent if g is not None)
        np.testing.assert_allclose(total, frame.grad(node), rtol=1e-9, atol=1e-12, err_msg=node.name)
        checked += 1
    return checked


def test_a_linear_layer_is_a_transposition_and_a_product():
    x, w, b = doubles(3, 4), doubles(5, 4), doubles(5)
    frame = recorded(lambda: F.linear(x, w, b).sin().sum())
    found = expanded(frame, "linear_1")
    unchanged(frame, found)
    t, y = found.graph["linear_1.t"], found.graph["linear_1"]
    assert (t.op, y.op) == ("t", "addmm")
    assert [found.graph.nodes[i].name for i in y.inputs] == ["b", "x", "linear_1.t"]
    assert t.scope == y.scope == ("linear_1",)
    assert t.source == y.source == frame.graph["linear_1"].source
    assert found.meta["expanded"] == "linear_1"
    turned = w.detach().t().requires_grad_()
    out = torch.addmm(b.detach(), x.detach(), turned)
    out.sin().sum().backward()
    assert bits(found.value(t), turned)
    assert bits(found.grad(t), turned.grad)
    assert np.array_equal(found.edge_grad("linear_1.t", "linear_1"), turned.grad)


def test_cross_entropy_is_a_log_softmax_and_a_choice():
    z, target = doubles(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    frame = recorded(lambda: F.cross_entropy(z, target))
    found = expanded(frame, frame.graph.outputs[0])
    unchanged(frame, found)
    log = z.detach().log_softmax(1).requires_grad_()
    F.nll_loss(log, target).backward()
    name = frame.graph.nodes[frame.graph.outputs[0]].name
    assert [node.op for node in found.graph][2:] == ["_log_softmax", "nll_loss_forward", "getitem"]
    assert bits(found.value(f"{name}._log_softmax"), log)
    assert bits(found.grad(f"{name}._log_softmax"), log.grad)
    assert found.value(f"{name}.nll_loss_forward") is None


def attention_by_hand(x, weight, bias, out_weight, out_bias, heads):
    """What multi_head_attention_forward computes, with every step kept."""
    kept = {}
    length, width = x.shape[0], x.shape[-1] // heads
    parts = []
    for name, w, b in zip("qkv", weight.chunk(3), bias.chunk(3), strict=True):
        kept[name] = torch.addmm(b, x.reshape(length, -1), w.t())
        parts.append(kept[name].view(length, heads, width).transpose(0, 1))
    q, k, v = parts
    kept["scores"] = torch.bmm(q * (1 / width) ** 0.5, k.transpose(-2, -1))
    kept["weights"] = kept["scores"].softmax(-1)
    kept["mixed"] = torch.bmm(kept["weights"], v)
    out = torch.addmm(out_bias, kept["mixed"].transpose(0, 1).reshape(length, -1), out_weight.t())
    return out.view(length, 1, -1), kept


def test_the_inside_of_attention_has_the_numbers_of_attention_written_by_hand():
    attention = torch.nn.MultiheadAttention(6, 2, dtype=torch.float64)
    x = doubles(5, 1, 6)
    frame = recorded(lambda: attention(x, x, x)[0].tanh().sum(), attention)
    found = expanded(frame)
    unchanged(frame, found)
    assert add_up(found) > 20
    out, kept = attention_by_hand(
        x.detach(), attention.in_proj_weight, attention.in_proj_bias, attention.out_proj.weight,
        attention.out_proj.bias, 2,
    )  # fmt: skip
    for t in kept.values():
        t.retain_grad()
    out.tanh().sum().backward()
    products = [node for node in found.graph if node.op == "bmm"]
    (softmax,) = [node for node in found.graph if node.op == "_softmax"]
    pairs = [(products[0], "scores"), (softmax, "weights"), (products[1], "mixed")]
    pairs += [(node, name) for node, name in zip(found.graph.find(op="addmm"), "qkv", strict=False)]
    for node, name in pairs:
        np.testing.assert_allclose(found.value(node), kept[name].detach(), rtol=1e-12)
        np.testing.assert_allclose(found.grad(node), kept[name].grad, rtol=1e-9, atol=1e-15)


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * x * x


def test_a_function_of_ones_own_shows_values_inside_and_gradients_at_its_ends():
    x = doubles(4)
    frame = recorded(lambda: Cube.apply(x.sin()).sum())
    (cube,) = frame.graph.find(op="Cube")
    found = expanded(frame, cube)
    unchanged(frame, found)
    inner = found.graph[f"{cube.name}.mul"]
    s = x.detach().sin()
    assert bits(found.value(inner), s * s)
    assert found.grad(inner) is None
    assert bits(found.value(cube.name), s * s * s)
    assert found.grad("sin_1") is not None


def test_batch_norm_keeps_its_running_statistics():
    norm = torch.nn.BatchNorm1d(3, dtype=torch.float64)
    x = doubles(8, 3)
    frame = recorded(lambda: norm(x).sin().sum(), norm)
    before = norm.running_mean.clone(), norm.running_var.clone(), norm.num_batches_tracked.clone()
    found = expanded(frame)
    unchanged(frame, found)
    assert all(map(torch.equal, before, (norm.running_mean, norm.running_var, norm.num_batches_tracked)))
    (inner,) = found.graph.find(op="native_batch_norm")
    assert inner.attrs["training"] is True


def test_dropout_has_the_mask_it_had_and_the_random_numbers_go_on():
    x = doubles(200)
    frame = recorded(lambda: F.dropout(x.exp(), 0.3).sum())
    state = torch.get_rng_state()
    found = expanded(frame)
    assert torch.equal(state, torch.get_rng_state())
    unchanged(frame, found)
    mask = found.value(found.graph.find(op="div_")[0])
    assert 0 < (mask == 0).sum() < 200
    assert same_bits(found.value("exp_1") * mask, found.value("dropout_1"))
    assert same_bits(found.grad("dropout_1") * mask, found.grad("exp_1"))


def test_dropout_of_a_transposed_operand_has_the_mask_it_had():
    x = doubles(20, 30)
    frame = recorded(lambda: torch.sum(F.dropout(x.exp().t(), 0.3) * x.t()))
    found = expanded(frame, "dropout_1")
    unchanged(frame, found)
    kept = np.asarray(frame.value("dropout_1")) != 0
    assert np.array_equal(np.asarray(frame.edge_grad("t_1", "dropout_1")) != 0, kept)
    assert np.array_equal(np.asarray(frame.edges.sent(frame.graph["dropout_1"].id, 0, np.ones((30, 20)))) != 0, kept)


def test_an_lstm_opens_to_its_layer():
    lstm = torch.nn.LSTM(3, 4, num_layers=2, batch_first=True)
    x = torch.randn(2, 5, 3, requires_grad=True)
    frame = recorded(lambda: lstm(x)[0].sum() + lstm(x)[1][0].sin().sum(), lstm)
    found = expanded(frame)
    unchanged(frame, found)
    assert len(found.graph) > len(frame.graph)
    insides = [node for node in found.graph if "lstm_1" in node.scope and node.op == "getitem"]
    assert any(found.grad(node) is not None for node in insides)


def test_an_lstm_in_doubles_opens_to_its_steps():
    lstm = torch.nn.LSTM(3, 4, batch_first=True, dtype=torch.float64)
    x = doubles(2, 3, 3)
    frame = recorded(lambda: lstm(x)[0].sin().sum(), lstm)
    found = expanded(frame)
    unchanged(frame, found)
    assert add_up(found) > 10


def test_a_slice_that_is_written_is_part_of_the_whole():
    x, v = doubles(4, 3), doubles(3)

    def step():
        z = x * 2
        z[1] = v.sin()
        z[:, 2] *= 3
        return (z * z).sum()

    frame = recorded(step)
    (write, _) = frame.graph.find(op="setitem")
    found = expanded(frame, write)
    unchanged(frame, found)
    copy, whole = found.graph[f"{write.name}.copy_"], found.graph[write.name]
    assert whole.op == "as_strided_scatter"
    assert same_bits(found.value(copy), found.value("sin_1"))
    assert same_bits(found.grad(copy), np.array(found.grad(whole)[1]))
    assert same_bits(found.edge_grad(copy, whole), found.grad(copy))
    every = expanded(frame)
    unchanged(frame, every)
    gradviz.draw(every).svg


def test_everything_in_place_and_without_a_gradient():
    x = doubles(3, 4)

    def step():
        with torch.no_grad():
            scale = torch.stack([x.std(0), x.var(0)]).amax(0)
        h = (x / scale).add_(1).relu_()
        values, _ = F.normalize(h, dim=1).max(1)
        return F.huber_loss(values, torch.zeros(3, dtype=torch.float64)) + F.gelu(h).logsumexp((0, 1))

    frame = recorded(step)
    found = expanded(frame)
    unchanged(frame, found)
    assert add_up(found, but={"relu_", "add_"}) >= 8
    outer = {node.name for node in frame.graph if frame.grad(node) is None and node.kind == "op"}
    inner = [node for node in found.graph if outer & set(node.scope)]
    assert all(found.grad(node) is None for node in inner if not node.name.startswith("max"))


def test_a_node_with_one_operation_stays_where_it_is():
    x = doubles(3)
    frame = recorded(lambda: x.exp().sum())
    found = expanded(frame)
    assert [(node.name, node.op, node.scope) for node in found.graph] == [
        (node.name, node.op, node.scope) for node in frame.graph
    ]


def test_two_layers_of_one_class_are_in_scopes_of_their_own():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
    frame = recorded(lambda: model(torch.ones(2, 3)).sum(), model)
    found = expanded(frame)
    unchanged(frame, found)
    products = found.graph.find(op="addmm")
    assert [node.scope[0] for node in products] == ["0", "2"]
    assert len({node.scope for node in products}) == 2


def test_half_precision_under_autocast():
    model = torch.nn.Linear(8, 4)

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(torch.randn(3, 8)).float().square().sum()

    frame = recorded(step, model)
    found = expanded(frame)
    unchanged(frame, found)
    assert {node.dtype for node in found.graph.find(op="addmm")} == {"bfloat16"}
    assert len(found.graph.find(op="_to_copy")) == 4  # input, weight and bias narrowed, the result widened


def test_expanding_leaves_no_gradient_on_the_program():
    model = torch.nn.Linear(3, 2)
    frame = recorded(lambda: model(torch.ones(2, 3)).sum(), model)
    before = model.weight.grad.clone()
    expanded(frame)
    inside(frame, frame.graph.find(op="linear")[0])
    assert torch.equal(model.weight.grad, before)


def test_the_inside_of_one_node_ends_at_its_operands():
    x, w = doubles(3, 4), doubles(5, 4)
    frame = recorded(lambda: F.linear(x.sin(), w).cos().sum() + x.sum())
    part = inside(frame, "linear_1")
    part.graph.check()
    assert [(node.name, node.kind) for node in part.graph] == [
        ("sin_1", "input"), ("w", "param"), ("linear_1.t", "op"), ("linear_1", "op"),
    ]  # fmt: skip
    assert part.graph.nodes[part.graph.outputs[0]].name == "linear_1"
    assert same_bits(part.grad("w"), frame.edge_grad("w", "linear_1"))
    assert same_bits(part.grad("sin_1"), frame.edge_grad("sin_1", "linear_1"))
    assert same_bits(part.value("linear_1"), frame.value("linear_1"))
    assert part.meta["expanded"] == "linear_1"


def test_an_operand_taken_twice_gets_what_both_places_send():
    x = doubles(3, 3)
    frame = recorded(lambda: F.scaled_dot_product_attention(x[None, None], x[None, None], x[None, None]).sum())
    (node,) = frame.graph.find(op="scaled_dot_product_attention")
    part = inside(frame, node)
    part.graph.check()
    y = doubles(2)
    frame = recorded(lambda: F.cosine_similarity(y, y, dim=0))
    part = inside(frame, frame.graph.outputs[0])
    assert part.grad("y") == pytest.approx(frame.grad("y"))
    assert part.graph.nodes[0].name == "y"


def test_what_cannot_be_opened_says_so():
    x = doubles(3)
    frame = recorded(lambda: x.exp().sum())
    with pytest.raises(GraphError, match="is a leaf"):
        expanded(frame, "x")
    with pytest.raises(UnknownNameError):
        expanded(frame, "expo_1")
    own = gradviz.tensor([1.0, 2.0], name="a")
    with pytest.raises(GraphError, match="read from PyTorch"):
        expanded(gradviz.frame((own * own).sum()))
    frame.edges.calls[1].func = None
    with pytest.raises(GraphError, match="only known by name"):
        expanded(frame, "exp_1")
    assert expanded(frame).graph.fingerprint() == frame.graph.fingerprint()
    with gradviz.capture(level="stats") as cap:
        (x * 2).sum().backward()
    with pytest.raises(GradvizValueError, match="only measured"):
        cap.expand()
