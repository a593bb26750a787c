"""Whether the ops' own rules are right: each beside finite differences, with random cotangents.

One check of an op costs three evaluations of it, however many parameters there are, and names the wrong op
where comparing the whole function would only say that something is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradviz.errors import GradvizError, GradvizValueError
from gradviz.escape import clean
from gradviz.graphs import Frame, Node, Source
from gradviz.graphs.nodes import RuleEdges
from gradviz.graphs.projections import is_projection

__all__ = ["Mismatch", "check"]

RTOL, ATOL = 1e-6, 1e-8  # relative to the size of the sum, and absolute


@dataclass(frozen=True)
class Mismatch:
    """An op whose rule gives another derivative than finite differences do, by one of its arguments.

    ``rule`` and ``numerical`` are derivatives along a random direction; ``note`` says what is special there
    (a kink, say), or why the rule could not be asked: then it is not ``is_asked``, and may well be right.
    """

    node: Node
    arg: int
    rule: float | None
    numerical: float | None
    note: str = ""
    is_asked: bool = True

    @property
    def source(self) -> Source | None:
        """The line that made the node."""
        return self.node.source

    @property
    def what(self) -> str:
        """What is wrong, in words, without the place."""
        what = f"the rule of {clean(self.node.op)} for argument {self.arg} of {clean(self.node.name)}"
        note = f" ({clean(self.note)})" if self.note else ""
        if self.rule is None:
            return f"{what}{note}"
        return f"{what}: the rule says {self.rule:.8g}, finite differences {self.numerical:.8g}{note}"

    def __str__(self) -> str:
        return f"{self.what}, at {clean(str(self.source))}" if self.source else self.what


def check(
    frame: Frame,
    name: Any = None,
    *,
    repeats: int = 1,
    rtol: float = RTOL,
    atol: float = ATOL,
    registered_only: bool = False,
) -> list[Mismatch]:
    """Return every op of a frame whose rule is wrong; of one node only, if it is named.

    In a program of PyTorch the rule of an op is its backward, and the op is called again in double precision.

    Each rule is asked ``repeats`` times, with other random cotangents. With ``registered_only`` the ops of this
    package, whose rules have been tested, are left out; of PyTorch all but those of a custom autograd.Function. Raises
    GradvizValueError for a node that is no op, and for a recorded run of PyTorch.

    >>> import gradviz
    >>> x = gradviz.Tensor(0.5)
    >>> check(gradviz.frame(x * x + gradviz.sin(x)))
    []
    """
    if repeats < 1:
        raise GradvizValueError(f"repeats is {repeats}: every rule is asked once at least", hint="repeats=3")
    nodes = [frame.graph.node(name)] if name is not None else frame.graph.nodes
    if name is not None and nodes[0].kind != "op":
        raise GradvizValueError(f"{clean(nodes[0].name)!r} is a {nodes[0].kind}: it has no rule", hint="name an op")
    from gradviz.sources.pullback import with_gradients

    if frame.meta.get("source") == "torch" and not hasattr(frame.edges, "checked"):
        if registered_only:
            return []
        raise GradvizValueError(
            "the rules of a run of PyTorch cannot be checked from its file: the functions are not in it",
            hint="check where it was captured: gradviz.Debugger(cap).check(), of gradviz.capture(model) as cap",
        )
    whole = with_gradients(frame)
    asked = [node for node in nodes if node.kind == "op" and not is_projection(frame.graph, node)]
    if registered_only and isinstance(whole.edges, RuleEdges):
        asked = [node for node in asked if whole.edges.is_registered(node.id)]
    return [mismatch for node in asked for mismatch in _wrong(whole, node, repeats, rtol, atol)]


def _wrong(frame: Frame, node: Node, repeats: int, rtol: float, atol: float) -> Iterator[Mismatch]:
    """Yield what is wrong with the rule of a node, each argument once."""
    values: Any = [frame.values[i] for i in node.inputs]
    if any(value is not None and not np.all(np.isfinite(value)) for value in values):
        return  # differences of what is not finite say nothing
    known: set[int] = set()
    for repeat in range(repeats):
        try:
            rows = _rows(frame, node, np.random.default_rng([node.id, repeat]), rtol, atol)
        except GradvizError as error:
            yield Mismatch(node, 0, None, None, error.message, is_asked=False)
            return
        for arg, row in rows:
            if not row.ok and arg not in known:
                known.add(arg)
                yield Mismatch(node, arg, row.autograd, row.numerical, row.note)


def _rows(frame: Frame, node: Node, rng: np.random.Generator, rtol: float, atol: float) -> Sequence[tuple[int, Any]]:
    """Return the arguments that a gradient goes to, each with its rule beside finite differences."""
    from gradviz.sources import own

    checked = getattr(frame.edges, "checked", None)
    if checked is None:
        return own.check_rules(frame, node.id, rng, rtol, atol)
    wanted = [arg for arg, src in enumerate(node.inputs) if frame.grads[src] is not None]
    found: Sequence[tuple[int, Any]] = checked(node.id, wanted, rng, rtol, atol) if wanted else []
    return found
