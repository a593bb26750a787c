"""Modules: where parameters are found, what they are called, where their ops lie, and whether they learn."""

import copy
import pickle
import threading

import numpy as np
import pytest
import torch

import gradviz
from gradviz import Tensor
from gradviz.engine import nn, optim
from gradviz.errors import GradvizTypeError, GradvizValueError, ShapeError, UnknownNameError

X = np.random.default_rng(1).normal(size=(5, 3))


class Block(nn.Module):
    def __init__(self, size):
        self.inner = nn.Linear(size, size, rng=0)
        self.gain = Tensor(2.0)

    def forward(self, x):
        return self.inner(x) * self.gain


class Model(nn.Module):
    def __init__(self):
        self.blocks = {"first": Block(3), "second": Block(3)}
        self.heads = [nn.Sequential(nn.Linear(3, 2, rng=1), nn.Tanh()), nn.Linear(3, 1, rng=2)]
        self.mean = gradviz.constant(0.5)
        self._cache = Tensor(1.0)

    def forward(self, x):
        for block in self.blocks.values():
            x = block(x)
        return self.heads[0](x).sum() + self.heads[1](x).sum() + self.mean


NAMES = [
    *("blocks.first.gain", "blocks.first.inner.weight", "blocks.first.inner.bias"),
    *("blocks.second.gain", "blocks.second.inner.weight", "blocks.second.inner.bias"),
    *("heads.0.layers.0.weight", "heads.0.layers.0.bias", "heads.1.weight", "heads.1.bias"),
]


def ops_of(root):
    """Return every op that ``root`` was made of, with its scope."""
    found, waiting = {}, [root]
    while waiting:
        t = waiting.pop()
        if id(t) not in found:
            found[id(t)] = t
            waiting.extend(t.inputs)
    return [(t.op, t.scope) for t in found.values() if not t.is_leaf]


def test_parameters_are_found_in_lists_dicts_and_modules_and_named_by_path():
    model = Model()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert [p.name for p in model.parameters()] == NAMES
    assert all(p.is_leaf and p.requires_grad for p in model.parameters())


def test_names_grow_from_inner_to_outer_and_stay_there():
    inner = nn.Linear(2, 2, rng=0)
    inner.named_parameters()
    assert inner.weight.name == "weight"
    outer = nn.Sequential(inner)
    outer.parameters()
    assert inner.weight.name == "layers.0.weight"
    inner.parameters()
    assert inner.weight.name == "layers.0.weight"


def test_a_name_given_by_hand_stays():
    class Line(nn.Module):
        def __init__(self):
            self.slope = Tensor(1.0, name="m")

    line = Line()
    assert line.named_parameters() == [("slope", line.slope)]
    assert line.slope.name == "m"


def test_a_shared_parameter_is_one_parameter():
    layer = nn.Linear(3, 3, rng=0)
    net = nn.Sequential(layer, nn.ReLU(), layer)
    assert len(net.parameters()) == 2
    assert len(net.named_modules()) == 3
    net(X).sum().backward()
    assert layer.weight.grad.shape == (3, 3)


def test_ops_lie_in_scopes_named_after_the_attributes():
    scopes = {scope for _, scope in ops_of(Model()(X))}
    assert ("blocks.first", "inner") in scopes
    assert ("blocks.first",) in scopes
    assert ("heads.0", "layers.0") in scopes
    assert ("heads.0", "layers.1") in scopes
    assert ("heads.1",) in scopes
    assert () in scopes


def test_a_scope_of_the_users_lies_around():
    net = nn.MLP([3, 2, 1], rng=0)
    with gradviz.scope("net"):
        y = net(X)
    assert {scope[0] for _, scope in ops_of(y)} == {"net"}
    assert ("net", "layers.0") in {scope for _, scope in ops_of(y)}


def test_the_source_is_the_users_line_not_the_librarys():
    net = nn.MLP([3, 2, 1], rng=0)
    y = net(X)
    assert y.source.file == __file__
    assert y.source.text == "net(X)"


def test_linear_is_pytorchs_with_the_weight_transposed():
    layer, other = nn.Linear(3, 4, rng=0), torch.nn.Linear(3, 4, dtype=torch.float64)
    with torch.no_grad():
        other.weight.copy_(torch.tensor(layer.weight.numpy().T))
        other.bias.copy_(torch.tensor(layer.bias.numpy()))
    np.testing.assert_allclose(layer(X).numpy(), other(torch.tensor(X)).detach().numpy(), rtol=1e-13)
    assert np.max(np.abs(layer.weight.numpy())) <= 1 / np.sqrt(3)
    assert layer(X[0]).shape == (4,)
    assert nn.Linear(3, 4, bias=False, rng=0).parameters()[0].shape == (3, 4)
    assert nn.Linear(3, 4, rng=0, dtype=np.float32)(X.astype(np.float32)).dtype == np.float32


def test_the_same_seed_gives_the_same_network():
    one, same, other = nn.MLP([3, 4, 1], rng=5), nn.MLP([3, 4, 1], rng=5), nn.MLP([3, 4, 1], rng=6)
    assert np.array_equal(one(X).numpy(), same(X).numpy())
    assert not np.array_equal(one(X).numpy(), other(X).numpy())
    layers = [layer.weight.numpy() for layer in one.layers if isinstance(layer, nn.Linear)]
    assert not np.array_equal(layers[0][:1], layers[1].T[:, :3])


@pytest.mark.parametrize("name", nn.ACTIVATIONS)
def test_every_activation_works_by_name(name):
    net = nn.MLP([3, 4, 2], name, rng=0)
    net(X).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert "layers.1" in repr(net)


def test_activations_take_options_and_functions_are_layers():
    assert nn.Softmax(axis=0)(X).numpy().sum(0) == pytest.approx(np.ones(3))
    assert nn.LeakyReLU(negative_slope=0.5)(-1.0).item() == -0.5
    assert nn.Sequential(gradviz.sin, nn.ELU(alpha=2.0))(X).shape == (5, 3)
    assert nn.MLP([3, 2, 1], gradviz.sin, rng=0)(X).shape == (5, 1)


def test_layer_norm_and_dropout():
    norm, drop = nn.LayerNorm(3), nn.Dropout(0.5, rng=0)
    assert norm(X).numpy().mean(-1) == pytest.approx(np.zeros(5), abs=1e-12)
    assert [name for name, _ in norm.named_parameters()] == ["weight", "bias"]
    net = nn.Sequential(drop)
    assert not np.array_equal(net(X).numpy(), net(X).numpy())
    assert np.array_equal(net.eval()(X).numpy(), X)
    assert not np.array_equal(net.train()(X).numpy(), X)


def test_a_network_learns():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (64, 2))
    labels = (x[:, 0] * x[:, 1] > 0).astype(int)
    net = nn.MLP([2, 12, 2], "tanh", rng=0)
    descent = optim.Adam(net.parameters(), lr=0.05)
    losses = []
    for _ in range(80):
        net.zero_grad()
        loss = nn.cross_entropy(net(x), labels)
        loss.backward()
        descent.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_state_goes_out_and_in():
    one, two = nn.MLP([3, 4, 1], rng=1), nn.MLP([3, 4, 1], rng=2)
    state = one.state_dict()
    two.load_state_dict(state)
    assert np.array_equal(one(X).numpy(), two(X).numpy())
    state["layers.0.weight"][:] = 0.0
    assert np.array_equal(one(X).numpy(), two(X).numpy())


def test_copies_and_pickles_are_networks_of_their_own():
    net = nn.MLP([3, 4, 1], rng=1)
    y = net(X).numpy()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert np.array_equal(other(X).numpy(), y)
        assert not {id(p) for p in other.parameters()} & {id(p) for p in net.parameters()}


def test_a_state_that_does_not_fit_is_explained():
    net = nn.MLP([3, 4, 1], rng=1)
    state = net.state_dict()
    with pytest.raises(UnknownNameError, match=r"did you mean layers\.0\.weight"):
        net.load_state_dict({**state, "layers.0.wieght": 0.0})
    with pytest.raises(UnknownNameError, match=r"lacks layers\.0\.bias"):
        net.load_state_dict({k: v for k, v in state.items() if k != "layers.0.bias"})
    with pytest.raises(ShapeError, match=r"layers\.0\.bias"):
        net.load_state_dict({**state, "layers.0.bias": np.zeros(3)})


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Linear(0, 2), GradvizValueError, "inputs is 0"),
        (lambda: nn.Linear(2, 2.5), GradvizValueError, "outputs is 2.5"),
        (lambda: nn.MLP([3]), GradvizValueError, r"sizes is \[3\]"),
        (lambda: nn.MLP([3, 2, 1], "tan"), GradvizValueError, "did you mean tanh"),
        (lambda: nn.Sequential(nn.Tanh(), 3), GradvizTypeError, "layer 1 is a int"),
        (lambda: nn.Module()(1.0), GradvizTypeError, "Module has no forward"),
    ],
)
def test_mistakes_are_explained(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_an_error_inside_leaves_no_scope_open():
    net = nn.MLP([3, 2, 1], rng=0)
    with pytest.raises(ShapeError):
        net(np.ones((2, 5)))
    assert gradviz.tanh(Tensor(1.0)).scope == ()
    assert () in {scope for _, scope in ops_of(nn.Sequential(gradviz.sin)(X))}


def test_threads_do_not_see_each_others_scopes():
    net, seen = nn.MLP([3, 2, 1], rng=0), []

    def work():
        seen.append({scope for _, scope in ops_of(net(X))})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(scopes == {("layers.0",), ("layers.1",), ("layers.2",)} for scopes in seen)
    assert len(seen) == 4


def test_it_says_what_it_is():
    lines = repr(nn.MLP([2, 3, 1], "relu", rng=0)).splitlines()
    assert lines == ["MLP, 13 parameters", "  layers.0: Linear(2, 3)", "  layers.1: ReLU()", "  layers.2: Linear(3, 1)"]
