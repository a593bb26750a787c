"""Assertions for tests: all is finite, the rules are right, a gradient arrives, two things are the same.

Each raises GradientError, an AssertionError, whose message is what the debugger would say: pytest shows
it as it is, without the lines of this file.
"""

from __future__ import annotations

from typing import Any

from gradviz.debugger.blame import not_finite
from gradviz.debugger.check import ATOL, RTOL
from gradviz.debugger.faults import mismatches
from gradviz.debugger.standing import Standing
from gradviz.debugger.timeline import FrameTimeline, RunTimeline, Timeline, timeline
from gradviz.errors import GradientError, UnknownNameError, suggestion
from gradviz.escape import clean
from gradviz.graphs import Frame, Node
from gradviz.rules import check as judge
from gradviz.rules.evidence import OneFrame
from gradviz.rules.reach import severing
from gradviz.tracing.comparing import diff

__all__ = ["assert_finite", "assert_grads", "assert_reaches", "assert_same"]

SHOWN = 5  # wrong rules in one message


def assert_finite(x: Any, *, params: Any = None) -> None:
    """Raise GradientError unless the result, the parameters and their gradients are finite, in every iteration.

    ``x`` is a Tensor, a Frame (or a list of them), a Run or a Debugger; of a Tensor that ``backward()`` was not called
    on the gradients it would give count. The message says where the first NaN or infinity was born: op,
    iteration, phase, line, operands, and the usual safe rewrite. Raises GradvizTypeError for anything else.

    >>> import gradviz, numpy as np
    >>> x = gradviz.Tensor([4.0, 0.0], name="x")
    >>> assert_finite(np.sum(x * x))
    >>> assert_finite(np.sum(np.sqrt(x)))
    Traceback (most recent call last):
        ...
    gradviz.errors.GradientError: inf: born at 0.b.1 (backward), sqrt_1 = sqrt(x) sends inf to x[1]
      ...
    """
    __tracebackhide__ = True
    found = not_finite(_history(x, params))
    if found is not None:
        raise GradientError(str(found))


def assert_grads(x: Any, *, params: Any = None, rtol: float = RTOL, atol: float = ATOL, repeats: int = 1) -> None:
    """Raise GradientError unless the rule of every op agrees with finite differences.

    ``rtol`` is relative to the size of the sum, ``atol`` absolute; each rule is asked ``repeats`` times with random
    cotangents. Of a run the first, the middle and the last iteration are looked at. The message names
    the op that is wrong, and its line. `gradcheck` compares a whole function.

    >>> import gradviz
    >>> x = gradviz.Tensor(0.5, name="x")
    >>> assert_grads(gradviz.sin(x) * x)
    """
    __tracebackhide__ = True
    found = mismatches(_history(x, params), repeats=repeats, rtol=rtol, atol=atol)
    wrong = [f"iteration {iteration}: {mismatch}" for iteration, mismatch in found]
    if wrong:
        more = [f"... and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        raise GradientError("\n".join([*wrong[:SHOWN], *more]), hint="correct the rule of this op")


def assert_reaches(source: str, target: str, x: Any, *, params: Any = None) -> None:
    """Raise GradientError unless a gradient flows back: ``assert_reaches("w", "loss", x)`` asks from the loss to w.

    Both are names of nodes, ``source`` also of a parameter in ``params``; ``"loss"`` is the result where no node has
    that name. What is asked is whether a path is open, not whether a gradient happens to be 0. The message names the
    node that cuts. Of a run the last iteration is looked at.

    >>> import gradviz, numpy as np
    >>> w = gradviz.Tensor([1.5, 2.0], name="w")
    >>> assert_reaches("w", "loss", np.sum(w * w))
    >>> assert_reaches("w", "loss", np.round(w).sum())
    Traceback (most recent call last):
        ...
    gradviz.errors.GradientError: no gradient flows from loss back to w: the derivative of round (round_1) is 0...
      ...
    """
    __tracebackhide__ = True
    found = _history(x, params)
    frame = found.steps(found.iterations[-1]).full
    why = _cut(found, frame, source, target)
    if why:
        raise GradientError(f"no gradient flows from {clean(target)} back to {clean(source)}: {why}")


def assert_same(a: Any, b: Any) -> None:
    """Raise GradientError unless two runs (or their paths), frames, Tensors or graphs are the same, bit for bit.

    The message begins with where they part first. Raises GradvizTypeError for two things of different kinds.

    >>> import gradviz
    >>> w = gradviz.Tensor(2.0, name="w")
    >>> before = gradviz.frame(w * 3)
    >>> assert_same(before, before)
    >>> w.data = 2.5
    >>> assert_same(before, gradviz.frame(w * 3))
    Traceback (most recent call last):
        ...
    gradviz.errors.GradientError: 2 values differ; the first forward is w (param...): 2 | 2.5 (relative 0.2)
    """
    __tracebackhide__ = True
    found = diff(_of_debugger(a), _of_debugger(b))
    if found:
        raise GradientError(str(found))


def _history(x: Any, params: Any) -> Timeline:
    """Return what a Debugger walks through, or the history of anything else."""
    return x.timeline if isinstance(x, Standing) else timeline(x, params=params)


def _of_debugger(x: Any) -> Any:
    """Return the run or the frame behind a Debugger."""
    if not isinstance(x, Standing):
        return x
    return x.timeline.run if isinstance(x.timeline, RunTimeline) else x.full


def _cut(found: Timeline, frame: Frame, source: str, target: str) -> str:
    """Say what cuts; "" if nothing does."""
    graph = frame.graph
    if target not in graph and target != "loss":
        raise UnknownNameError.among("node", target, [node.name for node in graph])
    end = graph[target] if target in graph else graph.nodes[graph.outputs[-1]]
    if source not in graph:
        return _absent(found, frame, source)
    start = graph[source]
    if start.kind in {"const", "input"}:
        where = f", made at {clean(str(start.source))} by {clean(start.source.text, 80)}" if start.source else ""
        return f"{clean(source)} is {'a constant' if start.kind == 'const' else 'an input'}{where}"
    if start.id not in graph.ancestors(end) and start is not end:
        return f"{clean(end.name)} is not computed from it"
    guilty = severing(graph, start, end)
    if guilty is not None:
        return f"the derivative of {clean(guilty.op)} ({clean(guilty.name)}) is 0 everywhere{_line(guilty)}"
    silent = _silent(frame, start)
    return f"{clean(silent.name)} sends nothing back{_line(silent)}" if silent is not None else ""


def _line(node: Node) -> str:
    source = node.source
    return f"\n  {clean(str(source))}  {clean(source.code or source.text)}" if source else ""


def _absent(found: Timeline, frame: Frame, name: str) -> str:
    """Say of a parameter that is not in the graph which constant was made of it."""
    known = found.absent if isinstance(found, FrameTimeline) else {}
    run = found.run if isinstance(found, RunTimeline) else OneFrame(frame, {name: known.get(name)})
    for finding in judge(run, ["cut"]):
        if finding.message.startswith(f"{clean(name, 80)} "):
            return finding.message
    near = suggestion(name, [node.name for node in frame.graph])
    return f"{clean(name)} is not in the graph" + (f"; {near}" if near and name not in known else "")


def _silent(frame: Frame, start: Node) -> Node | None:
    """Return the op that has a gradient but sends none to what leads here."""
    if frame.grads[start.id] is not None or all(grad is None for grad in frame.grads):
        return None
    for id in (start.id, *frame.graph.descendants(start)):
        for user in frame.graph.consumers(id):
            if frame.grads[user] is not None and frame.grads[id] is None:
                return frame.graph.nodes[user]
    return None
