"""The inputs and constants of a graph are found again, and read as they were used, in every graph of its structure."""

import numpy as np
import pytest

import gradviz
from gradviz import Tensor
from gradviz.engine.inputs import NODES_LIMIT
from gradviz.engine.structure import signature
from gradviz.errors import GraphError
from gradviz.sources import own


class Readers:
    """One reader for each structure, made from the first graph that has it."""

    def __init__(self):
        self.known = {}

    def __call__(self, root):
        key = signature(root)
        if key not in self.known:
            self.known[key] = reader(root)
        return self.known[key](root)


def reader(root):
    ids, read = own.leaf_reader(root, own.graph(root))
    frame = own.frame(root)
    assert all(frame.graph.nodes[i].kind in {"input", "const"} for i in ids)
    assert len(ids) == sum(node.kind in {"input", "const"} for node in frame.graph.nodes)
    return read


def agrees(root, read):
    """Compare what is read with the frame, which looks at every tensor by itself."""
    frame = own.frame(root)
    ids, _ = own.leaf_reader(root, frame.graph)
    found = read(root)
    assert len(found) == len(ids)
    for i, value in zip(ids, found, strict=True):
        np.testing.assert_array_equal(value, frame.values[i])
        assert type(value) is float or value.dtype == frame.values[i].dtype
    return found


W, B = Tensor(0.5, name="w"), Tensor(np.ones(3), name="b")
IMAGE = np.arange(12.0).reshape(4, 3)


def sample(k):
    return ((2.0 + k) - (W * (0.1 * k) + 1.0)) ** 2


def swapped(k):
    return gradviz.sum((2.0 + k) - B) + (1.0 + k) / W + (k + 2.0) * W - W**2.0


def minibatch(k):
    x, y = IMAGE * k, np.ones(4) * k
    return gradviz.mean((y - gradviz.sum(x * B, axis=1)) ** 2)


def view(k):
    batch = IMAGE[k % 3 : k % 3 + 2]
    return gradviz.sum(gradviz.constant(batch)[0] * B + batch.T[0, 0])


def several(k):
    mask = np.array([True, False, k > 1])
    return gradviz.sum(gradviz.where(mask, B * k, np.full(3, 7.0 * k))) + gradviz.sum(
        gradviz.concatenate([B, np.ones(2) * k, B])
    )


def twice(k):
    x = Tensor(np.ones(3) * k, requires_grad=False, name="x")
    return gradviz.sum(x * B + gradviz.exp(x) * 2.0 - x)


SHARED = gradviz.constant(np.array([1.0, 2.0, 3.0]))
INPUT = Tensor(np.zeros(3), requires_grad=False, name="x")


def constants_of_constants(k):
    return gradviz.sum((SHARED * (k + 1.0)) * B + SHARED)


def assigned(k):
    INPUT.data = np.ones(3) * k
    return gradviz.sum(INPUT * B + W * k)


def written(k):
    INPUT.data[1] = k
    return gradviz.sum(INPUT * B)


def exposed(k):
    root = gradviz.sum(INPUT * B * k)
    assert INPUT.data is not None
    return root


PROGRAMS = [
    sample, swapped, minibatch, view, several, twice, constants_of_constants, assigned, written, exposed,
]  # fmt: skip


@pytest.mark.parametrize("build", PROGRAMS)
def test_the_reader_agrees_with_the_frame_of_every_step(build):
    read = Readers()
    found = []
    for k in (1, 2, 5, 0, 4):
        root = build(k)
        root.backward()
        found.append(agrees(root, read))
        W.grad = B.grad = None
    assert len(read.known) <= 2  # another one while an array is handed out
    assert any(np.any(a != b) for a, b in zip(found[-1], found[-2], strict=True))


@pytest.mark.parametrize("build", PROGRAMS)
def test_what_was_read_never_changes(build):
    found = Readers()(build(2))
    kept = [np.array(value) for value in found]
    build(7)
    INPUT.data[:] = -1.0
    for value, was in zip(found, kept, strict=True):
        np.testing.assert_array_equal(value, was)


def test_a_leaf_that_got_another_value_since_is_read_as_it_was_used():
    x = Tensor(np.ones(3), requires_grad=False, name="x")
    read = Readers()
    root = gradviz.sum(x * B)
    assert agrees(root, read)[0].tolist() == [1.0, 1.0, 1.0]
    held = x.data
    held[0] = 5.0
    assert agrees(root, read)[0].tolist() == [1.0, 1.0, 1.0]
    again = gradviz.sum(x * B)
    assert agrees(again, read)[0].tolist() == [5.0, 1.0, 1.0]
    x.data = np.zeros(3)
    assert agrees(again, read)[0].tolist() == [5.0, 1.0, 1.0]
    assert x.data is not None
    x.data[2] = 9.0
    assert agrees(again, read)[0].tolist() == [5.0, 1.0, 1.0]


def test_an_unchanged_input_is_the_same_object():
    x = gradviz.constant(np.ones(3))
    read = reader(gradviz.sum(x * B))
    assert read(gradviz.sum(x * B))[0] is read(gradviz.sum(x * B))[0]


def test_a_large_graph_is_walked():
    def build(k):
        total = W * 1.0
        for i in range(NODES_LIMIT):
            total = total * W + (i - k)
        return total - SHARED[0]

    read = reader(build(1))
    assert read.__code__.co_filename != "<string>"
    assert 196.0 in agrees(build(3), read)[1:]


def test_a_root_that_is_a_leaf_reads_itself():
    x = Tensor(3.0, requires_grad=False)
    assert reader(x)(x) == [3.0]
    assert reader(Tensor(3.0))(W) == []


def test_the_graph_must_be_that_of_the_root():
    with pytest.raises(GraphError, match="not that of this Tensor"):
        own.leaf_reader(W * 2.0, own.graph(W))
