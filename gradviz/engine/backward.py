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
from collections.abc import Iterable, Sequence
from itertools import chain, repeat, starmap
from operator import attrgetter
from typing import Any

import numpy as np

from ..errors import GradvizTypeError, NonScalarError, ShapeError
from . import modes
from .admit import admit
from .cotangents import PENDING, alone, recorded_value, stale, total, unbroadcast
from .forms import ADD, ADD_NUMBER, MUL, MUL_NUMBER
from .leaves import Exposed, Leaf, next_key, settle_leaf, value_of
from .sites import read_sources, unread, where
from .tensor import Constant, Frozen, Result, Tensor, constant_of, operands, site

_key, _code = attrgetter("_key"), attrgetter("_code")
_set_grad: Any = Tensor.__dict__["_grad"].__set__
_set_data: Any = Tensor.__dict__["_data"].__set__
# One pass at a time: passes of several threads may share leaves.
_lock = threading.RLock()


def _new_lock() -> None:
    global _lock  # noqa: PLW0603 - a fork may have copied a lock that another thread held
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def backward(root: Tensor, grad: Any = None, *, create_graph: bool = False) -> None:
    """Compute the gradient of this value by everything it was made of.

    ``grad`` is the gradient to start from, of this tensor's shape; it may be left out for a
    scalar. Leaves add the result to their ``grad``, results keep it. With
    ``create_graph=True`` the gradients are Tensors themselves and can be differentiated again.
    Either every gradient is set or, after an error or Ctrl-C, none.

    Raises `NonScalarError` for an array without ``grad``, `GradvizTypeError` if nothing here
    requires a gradient and `StaleValueError` if a leaf was changed after it was used.

    >>> w = Tensor(3.0)
    >>> (w * w).backward()
    >>> w.grad
    6.0
    """
    if modes.active:
        modes.told("differentiated", root)
    plain = grad is None and root.__class__ is Result and root._data.__class__ is float
    seed = 1.0 if plain else _seed(root, grad)
    with _lock:
        if create_graph:
            with modes.unseen():
                leaves = _recorded_pass(root, seed)
        else:
            leaves = _pass(root, value_of(seed) if isinstance(seed, Tensor) else seed)
    if modes.active:
        show(root, seed, [leaf._grad for leaf in leaves])


def show(root: Tensor, seed: Any, grads: Sequence[Any]) -> None:
    """Show the gradients of the leaves to those who watch."""
    for watcher in modes.mode().watchers:
        watcher.passed(root, seed, grads)


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
            f"backward(grad of shape {np.shape(grad)}) on {root.label}: it needs {root.shape}", where=where()
        )
    return seed


# -- the pass ---------------------------------------------------------------------------------


def _pass(root: Tensor, seed: Any) -> list[Tensor]:
    """Compute the gradients and return the leaves that have one."""
    marks = Marks()
    try:
        prepare(root, marks)
        root._grad = seed
        walk(marks.order)
        _commit(marks)
    except BaseException:
        put_back(marks)
        raise
    finally:
        if marks.exposed:
            hand_back(marks)
    return marks.leaves


class Marks:
    """What a pass has touched: nodes in the order of the walk, leaves, and the gradients there were before."""

    __slots__ = ("before", "exposed", "leaves", "nodes", "order")

    def __init__(self) -> None:
        self.nodes: list[Tensor] = []
        self.leaves: list[Tensor] = []
        self.before: list[tuple[Tensor, Any]] = []
        self.order: list[Tensor] = []
        self.exposed: list[tuple[Tensor, Exposed]] = []


def prepare(root: Tensor, marks: Marks) -> None:
    """Mark everything that ``root`` needs a gradient for, and put the nodes in order, newest first.

    Raises `StaleValueError` if a leaf was assigned after a node had used its value.
    """
    _search(root, marks)
    marks.order.sort(key=_key, reverse=True)
    if unread(root._code):
        read_sources(map(_code, chain(marks.order, marks.leaves)))
    assigned = [leaf for leaf in marks.leaves if leaf._op.assigned]
    if assigned:
        _refuse_stale(marks.order, assigned)


def put_back(marks: Marks) -> None:
    """Restore every gradient slot: one call into C, so that Ctrl-C cannot come between."""
    touched = zip(chain(marks.nodes, marks.leaves), repeat(None))
    deque(starmap(_set_grad, chain(touched, marks.before)), maxlen=0)


def _search(root: Tensor, marks: Marks) -> None:  # noqa: C901, PLR0912 - the hot loop is written out
    """Mark as pending whatever ``root`` was made of and wants a gradient.

    The newer operand is followed first, so the order found is nearly the order wanted, and
    sorting it costs little. A node is noted before it is marked, for `put_back`.
    """
    pending, before = PENDING, marks.before
    waiting: list[Tensor] = []
    note, leaf, visit = marks.nodes.append, marks.leaves.append, marks.order.append
    if root._grad is not None:
        before.append((root, root._grad))
    if root._op.__class__ is Leaf:
        leaf(root)
        return
    note(root)
    root._grad = pending
    node: Tensor | None = root
    while node is not None:
        visit(node)
        following = None
        a, b = node._a, node._b
        kind = a.__class__
        if kind is not Result and kind is not Tensor:
            for x in _wanting(node):
                if x._grad is not pending:
                    before.append((x, x._grad))
                    if x._op.__class__ is Leaf:
                        leaf(x)
                    else:
                        note(x)
                        waiting.append(x)
                    x._grad = pending
        else:
            if a._grad is not pending:
                if a._grad is not None:
                    before.append((a, a._grad))
                if kind is Result:
                    note(a)
                    following = a
                else:
                    leaf(a)
                a._grad = pending
            kind = b.__class__
            if (kind is Result or kind is Tensor or kind is Frozen) and b._grad is not pending:
                if b._grad is not None:
                    before.append((b, b._grad))
                if kind is Result:
                    note(b)
                    if following is not None:
                        waiting.append(following)
                    following = b
                else:
                    leaf(b)
                b._grad = pending
        node = following if following is not None else waiting.pop() if waiting else None
    for t in marks.leaves:
        if t._data.__class__ is Exposed:
            _take(t, marks)


def _take(leaf: Tensor, marks: Marks) -> None:
    """Take a leaf's array away from those who still hold it, until `hand_back`: the rules read plain values."""
    exposed = leaf._data
    value = settle_leaf(leaf)
    if leaf._data is exposed:
        marks.exposed.append((leaf, exposed))
        leaf._data = value


def hand_back(marks: Marks) -> None:
    """Undo `_take`, so that a later write is noticed."""
    deque(starmap(_set_data, marks.exposed), maxlen=0)


def _wanting(node: Tensor) -> Iterable[Tensor]:
    """Return the operands that want a gradient, of a node that is no form on plain Tensors."""
    if node._a.__class__ is tuple:
        return [x for x in node._a if x._makes is not Constant]
    return [x for x in (node._a, node._b) if isinstance(x, Tensor) and x.__class__ is not Constant]


def walk(order: list[Tensor]) -> None:
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
            a._grad = c if had is pending else had + c if had.__class__ is float else total(had, c)
            c = g * a._data
            had = b._grad
            b._grad = c if had is pending else had + c if had.__class__ is float else total(had, c)
        elif op is ADD:
            a, b = node._a, node._b
            had = a._grad
            a._grad = g if had is pending else had + g if had.__class__ is float else total(had, g)
            had = b._grad
            b._grad = g if had is pending else had + g if had.__class__ is float else total(had, g)
        elif op is MUL_NUMBER:
            a = node._a
            c = g * node._b
            had = a._grad
            a._grad = c if had is pending else had + c if had.__class__ is float else total(had, c)
        elif op is ADD_NUMBER:
            a = node._a
            had = a._grad
            a._grad = g if had is pending else had + g if had.__class__ is float else total(had, g)
        else:
            op.pull(node, g)


def _commit(marks: Marks) -> None:
    """Give every leaf a gradient of its own, added to what it had, in one step."""
    totals: list[tuple[Tensor, Any]] = []
    for leaf in marks.leaves:
        g = leaf._grad
        if g is PENDING or leaf.__class__ is Frozen:
            totals.append((leaf, None))
        elif g.__class__ is np.ndarray:
            del g
            if not alone(leaf):
                totals.append((leaf, leaf._grad.copy()))
    for t, old in marks.before:
        if old is not None and t._op.__class__ is Leaf:
            g = t._grad
            if g is PENDING or t.__class__ is Frozen:
                totals.append((t, old))
            else:
                totals.append((t, old + g if g.__class__ is float or isinstance(old, Tensor) else np.asarray(old + g)))
    if totals:
        deque(starmap(_set_grad, totals), maxlen=0)


# -- leaves that were changed -----------------------------------------------------------------


def _refuse_stale(found: list[Tensor], assigned: list[Tensor]) -> None:
    """Raise if one of the ``assigned`` leaves got its new value after a node had used the old one."""
    oldest = next((n._key for n in reversed(found) if n._a is not None), 0)
    suspects = {id(leaf) for leaf in assigned if leaf._key > oldest}
    if not suspects:
        return
    for node in found:
        for x in node._a if node._a.__class__ is tuple else (node._a, node._b):
            if id(x) in suspects and x._key > node._key:
                raise stale(x, node)


# -- gradients that can be differentiated again -----------------------------------------------


def _recorded_pass(root: Tensor, seed: Any) -> list[Tensor]:
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
    return [node for node in order if node.is_leaf]


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
    _refuse_stale(found, [n for n in found if n.is_leaf and n._op.assigned])
    return found


def _recorded_pull(node: Tensor, g: Tensor, grads: dict[int, Tensor]) -> None:
    args = operands(node)
    for x in args:
        recorded_value(x, node)  # refuses a leaf that was changed since
    since = next_key()
    extra = modes.Extra(scope=node.scope, site=site(node))
    for i, x in enumerate(args):
        rule = node._op.vjp(i) if x.requires_grad else None
        if rule is not None:
            c = _fit_recorded(rule(g, node, *args, **node.attrs), x)
            grads[id(x)] = grads[id(x)] + c if id(x) in grads else c
            _attribute(grads[id(x)], since, extra)


def _attribute(made: Tensor, since: int, extra: modes.Extra) -> None:
    """Give the nodes made after ``since`` the scope and the place of the node whose gradient they are part of."""
    waiting = [made]
    while waiting:
        t = waiting.pop()
        if t._key > since and (t._extra is None or t._extra.site is None):
            t._extra = extra
            waiting.extend(operands(t))


def _fit_recorded(c: Any, x: Tensor) -> Tensor:
    c = c if isinstance(c, Tensor) else constant_of(admit(c))
    return c if c.shape == x.shape else unbroadcast(c, x.shape)  # type: ignore[no-any-return]


def install() -> None:
    """Make `backward` the method of that name."""
    backward.__qualname__ = "Tensor.backward"
    Tensor.backward = backward  # type: ignore[assignment,method-assign]
