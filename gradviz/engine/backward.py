"""The backward pass: reverse creation order, one loop, nothing recursive.

A node is made after its operands, so walking the creation numbers downwards meets every
consumer of a node before the node itself (PyTorch's ready queue relies on the same). Gradients
are written into the nodes; if anything stops the pass, every slot is put back, so they are all
there or none is.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable
from itertools import repeat, starmap
from operator import attrgetter, is_
from typing import Any

import numpy as np

from ..errors import GradvizTypeError, NonScalarError, ShapeError
from . import modes
from .admit import admit
from .cotangents import PENDING, alone, stale, total, unbroadcast
from .forms import ADD, ADD_NUMBER, MUL, MUL_NUMBER
from .leaves import Exposed, Leaf, settle_leaf, value_of
from .sites import read_sources, unread, where
from .tensor import Constant, Result, Tensor, constant_of, operands, site

_key, _code = attrgetter("_key"), attrgetter("_code")
_set_grad: Any = Tensor.__dict__["_grad"].__set__
# One pass at a time: passes of several threads may share leaves.
_lock = threading.RLock()


def _new_lock() -> None:
    global _lock  # noqa: PLW0603 - a fork may have copied a lock that another thread held
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def backward(root: Tensor, grad: Any, *, create_graph: bool = False) -> None:
    """Compute gradients from ``root`` down (the public text is at `Tensor.backward`)."""
    seed = _seed(root, grad)
    with _lock:
        if create_graph:
            _recorded_pass(root, seed)
        else:
            _pass(root, value_of(seed) if isinstance(seed, Tensor) else seed)


def _seed(root: Tensor, grad: Any) -> Any:
    if not root.requires_grad:
        raise GradvizTypeError(
            f"backward() on {root.label}, which depends on nothing that requires a gradient",
            where=where(),
            hint="make the parameters with Tensor(...), outside no_grad() and without detach()",
        )
    if grad is None:
        if root.size != 1:
            raise NonScalarError(
                f"backward() on {root.label} needs the gradient to start from, for it is not a scalar",
                where=where(),
                hint="reduce it first, as in loss.sum().backward(), or pass grad= of that shape",
            )
        return 1.0 if root._data.__class__ is float else np.ones(root.shape, root.dtype)
    seed = grad if isinstance(grad, Tensor) else admit(grad, what="grad")
    if np.shape(value_of(seed) if isinstance(seed, Tensor) else seed) != root.shape:
        raise ShapeError(
            f"backward(grad of shape {np.shape(grad)}) on {root.label} of shape {root.shape}", where=where()
        )
    return seed


# -- the pass ---------------------------------------------------------------------------------


def _pass(root: Tensor, seed: Any) -> None:
    found: list[Tensor] = [root]
    had: list[Any] = [root._grad]
    try:
        leaves = _search(found, had)
        order = sorted(found, key=_key, reverse=True)
        if unread(root._code):
            read_sources(map(_code, order))
        _refuse_stale(order, leaves)
        root._grad = seed
        _walk(order)
        _commit(leaves, _earlier(found, had))
    except BaseException:
        # One call into C puts everything back: Ctrl-C cannot come between.
        deque(map(_set_grad, found, had), maxlen=0)
        raise


def _search(found: list[Tensor], had: list[Any]) -> list[Tensor]:
    """Find what the one node in ``found`` was made of and wants a gradient; return the leaves among it.

    Each is marked as pending, and ``had`` gets the gradient that it had before.
    """
    leaves = []
    push, keep, pending = found.append, had.append, PENDING
    found[0]._grad = pending
    for node in found:
        a = node._a
        kind = a.__class__
        if kind is Result or kind is Tensor:
            grad = a._grad
            if grad is not pending:
                keep(grad)
                push(a)
                a._grad = pending
            b = node._b
            if b.__class__ is not float and b is not None:
                grad = b._grad
                if grad is not pending:
                    keep(grad)
                    push(b)
                    b._grad = pending
        elif a is None:
            leaves.append(node)
            if node._data.__class__ is Exposed:
                settle_leaf(node)
        else:
            for x in _wanting(node):
                if x._grad is not pending:
                    keep(x._grad)
                    push(x)
                    x._grad = pending
    return leaves


def _wanting(node: Tensor) -> Iterable[Tensor]:
    """Return the operands that want a gradient, of a node that is no form on plain Tensors."""
    if node._a.__class__ is tuple:
        return [x for x in node._a if x._makes is not Constant]
    return [x for x in (node._a, node._b) if isinstance(x, Tensor)]


def _earlier(found: list[Tensor], had: list[Any]) -> dict[int, Any]:
    """Return the gradients that were there before, by id; nearly always there are none."""
    if all(map(is_, had, repeat(None))):
        return {}
    return {id(t): grad for t, grad in zip(found, had, strict=True) if grad is not None}


def _walk(order: list[Tensor]) -> None:
    """Send every node's gradient on to its operands. Sums and products of like operands are inline."""
    pending = PENDING
    for node in order:
        g = node._grad
        if g is pending:  # reached only through operands that no gradient flows to
            node._grad = None
            continue
        op = node._op
        if op is MUL:
            a, b = node._a, node._b
            c = g * b._data
            had = a._grad
            a._grad = c if had is pending else had + c if had.__class__ is float else total(a, had, c)
            c = g * a._data
            had = b._grad
            b._grad = c if had is pending else had + c if had.__class__ is float else total(b, had, c)
        elif op is ADD:
            a, b = node._a, node._b
            had = a._grad
            a._grad = g if had is pending else had + g if had.__class__ is float else total(a, had, g)
            had = b._grad
            b._grad = g if had is pending else had + g if had.__class__ is float else total(b, had, g)
        elif op is MUL_NUMBER:
            a = node._a
            c = g * node._b
            had = a._grad
            a._grad = c if had is pending else had + c if had.__class__ is float else total(a, had, c)
        elif op is ADD_NUMBER:
            a = node._a
            had = a._grad
            a._grad = g if had is pending else had + g if had.__class__ is float else total(a, had, g)
        elif op.__class__ is not Leaf:
            op.pull(node, g)


def _commit(leaves: list[Tensor], earlier: dict[int, Any]) -> None:
    """Give every leaf a gradient of its own, added to what it had, in one step."""
    totals = []
    for leaf in leaves:
        g, old = leaf._grad, earlier.get(id(leaf))
        if g is None or leaf._makes is Constant:  # none came, or it was frozen after it was used
            totals.append((leaf, old))
        elif old is not None:
            totals.append((leaf, old + g if isinstance(old, Tensor) else _own(old + g)))
        elif g.__class__ is np.ndarray:
            del g
            if not alone(leaf):
                totals.append((leaf, leaf._grad.copy()))
    deque(starmap(_set_grad, totals), maxlen=0)


def _own(g: Any) -> Any:
    return g if g.__class__ is float else np.asarray(g)


# -- leaves that were changed -----------------------------------------------------------------


def _refuse_stale(found: list[Tensor], leaves: list[Tensor]) -> None:
    """Raise if a leaf was assigned after a node had used its value."""
    assigned = [leaf for leaf in leaves if leaf._op.assigned]
    if not assigned:
        return
    oldest = next((n._key for n in reversed(found) if n._a is not None), 0)
    suspects = {id(leaf) for leaf in assigned if leaf._key > oldest}
    if not suspects:
        return
    for node in found:
        for x in node._a if node._a.__class__ is tuple else (node._a, node._b):
            if id(x) in suspects and x._key > node._key:
                raise stale(x, node)


# -- gradients that can be differentiated again -----------------------------------------------


def _recorded_pass(root: Tensor, seed: Any) -> None:
    """As `_pass`, but compute with Tensors, so that the gradients are recorded themselves."""
    order = reachable(root)
    grads: dict[int, Tensor] = {id(root): seed if isinstance(seed, Tensor) else constant_of(seed)}
    for node in order:
        g = grads.get(id(node))
        if g is not None and not node.is_leaf:
            _recorded_pull(node, g, grads)
    totals = []
    for node in order:
        new = grads.get(id(node))
        if new is not None:
            old = node._grad if node.is_leaf else None
            totals.append((node, new if old is None else new + old))
    deque(starmap(_set_grad, totals), maxlen=0)


def reachable(root: Tensor) -> list[Tensor]:
    """Return what ``root`` was made of and wants a gradient, newest first."""
    seen = {id(root)}
    found = [root]
    for node in found:
        for x in operands(node):
            if x.requires_grad and id(x) not in seen:
                seen.add(id(x))
                found.append(x)
    found.sort(key=_key, reverse=True)
    _refuse_stale(found, [n for n in found if n.is_leaf])
    return found


def _recorded_pull(node: Tensor, g: Tensor, grads: dict[int, Tensor]) -> None:
    args = operands(node)
    with modes.on_behalf(modes.Extra(scope=node.scope, site=site(node))):
        for i, x in enumerate(args):
            rule = node._op.vjp(i) if x.requires_grad else None
            if rule is not None:
                c = _fit_recorded(rule(g, node, *args, **node.attrs), x)
                grads[id(x)] = grads[id(x)] + c if id(x) in grads else c


def _fit_recorded(c: Any, x: Tensor) -> Tensor:
    c = c if isinstance(c, Tensor) else constant_of(admit(c))
    return c if c.shape == x.shape else unbroadcast(c, x.shape)  # type: ignore[no-any-return]
