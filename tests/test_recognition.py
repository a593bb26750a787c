"""A structure is recognised quickly exactly when the slow walk says that it is the same."""

import itertools

import numpy as np
import pytest

import gradviz
from gradviz import Tensor
from gradviz.engine.leaves import next_key
from gradviz.engine.recognition import NODES_LIMIT, Structures, written_test
from gradviz.engine.sites import OFFSET_BITS
from gradviz.engine.structure import signature


def fit(w, x, power=2):
    return gradviz.mean((w * x - 1.0) ** power)


def shared(w, x):
    y = w * x
    return gradviz.sum(y * y + y)


def unshared(w, x):
    y, z = w * x, w * x
    return gradviz.sum(y * z + y)


def joined(w, x):
    return gradviz.sum(gradviz.concatenate([gradviz.reshape(w, (-1,)), gradviz.reshape(x, (-1,))]))


def along(axis):
    return lambda w, x: gradviz.sum(gradviz.mean(gradviz.exp(w * x), axis=axis))


def item(i):
    return lambda w, x: w * gradviz.constant(np.arange(3.0))[i]


def indexed(w, x):
    return gradviz.sum((w * x)[0] if np.ndim(w * x) else w * x)


def exposed(w, x):
    loss = fit(w, x)
    assert w.data is not None
    return loss


def assigned(w, x):
    w.data = w.data * 2.0
    return fit(w, x)


def sample():
    values = [3.0, np.ones(3), np.ones((2, 3))]
    for build in (fit, shared, unshared, joined, indexed, exposed, assigned):
        for w, x in itertools.product(values, values):
            if np.ndim(w) < 2 or np.ndim(x) != 1:
                yield build, w, x


def graphs():
    made = [build(Tensor(w), Tensor(x, requires_grad=False)) for build, w, x in sample()]
    made += [
        fit(Tensor(2.0), 3.0),
        fit(Tensor(2.0), np.ones(3)),
        fit(Tensor(2.0), np.ones(4)),
        fit(Tensor(2.0), 1.0, 3),
    ]
    square = np.ones((3, 3))
    made += [along(axis)(Tensor(square), Tensor(square)) for axis in (0, 1, (0, 1), None)]
    made += [fit(Tensor(np.ones(3, kind)), np.ones(3)) for kind in (np.float32, np.float64)]
    made += [item(i)(Tensor(2.0), None) for i in (0, 1)]
    return [*made, Tensor(2.0), Tensor(np.ones(2)), Tensor(2.0, requires_grad=False)]


def test_the_written_test_agrees_with_the_signature_on_every_pair():
    made = graphs()
    again = graphs()
    for one in made:
        test = written_test(one)
        for other in again:
            assert test(other) <= (signature(one) == signature(other))
        assert any(test(other) for other in again)


def test_structures_gives_the_number_of_the_signature_whatever_came_before():
    structures = Structures()
    rounds = [graphs() for _ in range(3)]
    alternating = [loss for group in zip(*rounds, strict=True) for loss in group]
    for loss in [*alternating, *rounds[0], *alternating[::-1]]:
        assert structures(loss) == signature(loss)


def test_a_structure_that_comes_again_and_again_is_recognised():
    structures = Structures()
    w = Tensor(1.0)
    for _ in range(2):
        structures(fit(w, 3.0))
    assert structures._is_last(fit(w, 5.0))
    assert not structures._is_last(fit(w, np.ones(2)))


def test_an_axis_and_a_dtype_make_another_structure_and_an_index_does_not():
    square = np.ones((3, 3))
    assert len({signature(along(axis)(Tensor(square), square)) for axis in (0, 1, None)}) == 3
    assert len({signature(fit(Tensor(np.ones(3, kind)), 2.0)) for kind in (np.float32, np.float64)}) == 2
    assert len({signature(item(i)(Tensor(2.0), None)) for i in (0, 1, 2)}) == 1


def test_a_structure_stays_the_same_when_the_interpreter_has_warmed_up():
    w = Tensor(np.ones(3))
    assert len({signature((w * 2.0)[1] + w[0] * w.T[2]) for _ in range(1_000)}) == 1


def test_recognising_another_graph_computes_nothing():
    test = written_test(gradviz.sum(gradviz.exp(Tensor(np.ones(3)))))
    other = gradviz.sum(-(Tensor(np.ones(3)) * 2.0))
    before = next_key()
    assert not test(other)
    assert next_key() - before == 1 << OFFSET_BITS


@pytest.mark.parametrize("thing", [1.0, None, "loss", np.ones(2), object()])
def test_what_is_no_tensor_has_no_structure(thing):
    structures = Structures()
    for _ in range(3):
        structures(Tensor(1.0) * 2.0)
    assert structures(thing) is None


def test_a_large_graph_is_walked_every_time():
    total = w = Tensor(1.0)
    for _ in range(NODES_LIMIT):
        total = total * w
    assert not written_test(total)(total)
    structures = Structures()
    assert [structures(total) for _ in range(3)] == [signature(total)] * 3
