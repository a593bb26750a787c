"""What PyTorch really computed in a program, found without gradviz: a mode that copies, and hooks that listen.

``truth(case)`` runs a case and has, for every step, each user-level call in order with its values, the gradients that
arrived at them, its line and the path of the module it ran in, and what the parameters were. ``compared`` lays a
Frame beside one step of it. ``plain(case)`` is what a run leaves behind: nothing of it may change by being watched.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as everywhere
from torch.optim import optimizer as optimizers
from torch.overrides import TorchFunctionMode

from tests.torch_programs import Case, drive

FILE = str(Path(__file__).with_name("torch_programs.py"))
CALL_OF_MODULE = nn.Module._call_impl.__code__
ANY = "*"  # the op of a record that nobody can name: a scripted module
WORDS = {"div": "truediv", "radd": "add", "rsub": "sub", "rmul": "mul", "rdiv": "truediv", "rpow": "pow",
         "rtruediv": "truediv", "iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "truediv", "ipow": "pow",
         "rmod": "mod", "rfloordiv": "floordiv", "rmatmul": "matmul"}  # fmt: skip


@dataclass
class Record:
    """One call that was seen: its results, and the gradient that arrived at each."""

    op: str
    line: int
    scope: str
    values: list[Any]
    grads: list[list[Any]]  # a list of one for each: what arrived, None so far
    operands: list[Any]  # their values before the call, in the order of the arguments
    operand_grads: list[list[Any]]


@dataclass
class Step:
    """What happened in one step."""

    records: list[Record]
    loss: Any
    before: Mapping[str, Any]  # the parameters when it began
    after: Mapping[str, Any]  # and when the forward pass was over
    grads: Mapping[str, Any]  # their gradients when the backward pass was over
    inputs: Mapping[str, tuple[Any, Any]]  # values and gradients of the inputs that want one


def array(t: Any) -> Any:
    """Return the numbers of a tensor as an array, bfloat16 as float32; None for None and what has no numbers."""
    if t is None:
        return None
    with torch.no_grad(), torch._C.DisableTorchFunction():
        t = t.detach()
        t = (t.to_dense() if t.layout is not torch.strided else t).resolve_conj().resolve_neg()
        return (t.float() if t.dtype is torch.bfloat16 else t).numpy().copy()


def is_transforming() -> bool:
    """Tell whether this is inside vmap or func.grad, where nobody can look at a tensor."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def version(t: Any) -> int:
    """Return how often a tensor was written to."""
    return 0 if t.is_inference() else t._version


def same(a: Any, b: Any) -> bool:
    """Tell whether two arrays have the same shape and the same numbers, NaN being equal to NaN."""
    if a is None or b is None:
        return a is None and b is None
    a, b = np.asarray(a), np.asarray(b)
    inexact = a.dtype.kind in "fc" and b.dtype.kind in "fc"
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=inexact))


# -- looking on ------------------------------------------------------------------------------------


class Watcher(TorchFunctionMode):
    """Copies the results of every user-level call, and hears the gradients that arrive at them."""

    def __init__(self, model: nn.Module | None) -> None:
        super().__init__()
        self.records: list[Record] = []
        self.is_backward = False
        self._paths = {id(module): path for path, module in model.named_modules()} if model is not None else {}
        self._inside = threading.local()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call what was to be called, and write it down."""
        return self.seen(name_of(func), func, args, kwargs or {})

    def seen(self, op: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Call something that is one call for the user, whatever it calls itself."""
        if getattr(self._inside, "is_call", False) or self.is_backward or is_transforming():
            return func(*args, **kwargs)
        self._inside.is_call = True
        try:
            operands = list(tensors([args, kwargs]))
            versions = [version(t) for t in operands]
            before = [array(t) for t in operands]
            before_grads = [self.listened(t) for t in operands]
            out = func(*args, **kwargs)
        finally:
            self._inside.is_call = False
        results = list(tensors(args[0] if out is None and op == "setitem" else out))
        is_nothing = any(out is t and version(t) == v for t, v in zip(operands, versions, strict=True))
        if results and not is_nothing:  # contiguous() and dropout of nothing return what they were given
            self.written(op, results, before, before_grads)
        return out

    def written(self, op: str, results: Sequence[Any], operands: list[Any], operand_grads: list[list[Any]]) -> None:
        """Add a record, with a hook on the autograd node of every result."""
        heard = [self.listened(t) for t in results]
        self.records.append(Record(op, *self._where(), [array(t) for t in results], heard, operands, operand_grads))

    def listened(self, t: Any) -> list[Any]:
        """Return a list of one, which will be the gradient that has arrived at a tensor as it is now."""
        heard = [None]
        if t.grad_fn is not None:
            t.grad_fn.register_prehook(partial(self._arrived, heard, t.output_nr))
        return heard

    def _arrived(self, heard: list[Any], output_nr: int, grads: Sequence[Any]) -> None:
        if self.is_backward and grads[output_nr] is not None:
            g = array(grads[output_nr])
            heard[0] = g if heard[0] is None else heard[0] + g

    def _where(self) -> tuple[int, str]:
        """Return the line of the innermost frame in the file of programs, and the path of the innermost module."""
        line, path = 0, None
        frame = sys._getframe(3)
        while frame is not None:
            if not line and frame.f_code.co_filename == FILE:
                line = frame.f_lineno
            if path is None and frame.f_code is CALL_OF_MODULE:
                path = self._paths.get(id(frame.f_locals["self"]))
            frame = frame.f_back
        return line, unwrapped(path or "")


def name_of(func: Any) -> str:
    """Return the name of a function as it is compared: ``__radd__``, ``add_`` and ``add`` are one."""
    name = str(getattr(func, "__name__", func))
    if name == "__get__":
        name = str(func.__self__.__name__)
    return normal(name)


def normal(op: str) -> str:
    """Return the name of an op without what says how it was written.

    >>> [normal(op) for op in ("__radd__", "add_", "iadd", "__rsub__", "div")]
    ['add', 'add', 'add', 'sub', 'truediv']
    """
    op = op.strip("_")
    return WORDS.get(op, op)


def unwrapped(path: str) -> str:
    """Return the path of a module or parameter as it is without `torch.compile`."""
    return path.replace("_orig_mod.", "").replace("_orig_mod", "")


def tensors(out: Any) -> Iterator[Any]:
    """Yield the tensors among results, in order."""
    if isinstance(out, torch.Tensor):
        yield out
    elif isinstance(out, tuple | list | dict):
        for item in out.values() if isinstance(out, dict) else out:
            yield from tensors(item)


@contextlib.contextmanager
def unseen_things_seen(watcher: Watcher) -> Iterator[None]:
    """Let a watcher see what a mode does not: custom Functions, scripted modules, other threads."""
    apply, run = torch.autograd.Function.__dict__["apply"], threading.Thread.run

    def seen_apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        return watcher.seen(cls.__name__, partial(apply.__func__, cls), args, kwargs)

    def seen_run(self: Any) -> None:
        with watcher:
            run(self)

    def seen_script(module: Any, args: Any, out: Any) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            operands = list(tensors(args))
            watcher.written(ANY, list(tensors(out)), [array(t) for t in operands], [[None] for t in operands])

    handle = everywhere.register_module_forward_hook(seen_script)
    torch.autograd.Function.apply, threading.Thread.run = classmethod(seen_apply), seen_run
    try:
        yield
    finally:
        torch.autograd.Function.apply, threading.Thread.run = apply, run
        handle.remove()


def truth(case: Case) -> tuple[list[Step], dict[str, Any]]:
    """Run a case under a watcher: return its steps, and what the run left behind."""
    steps: list[Step] = []
    watcher = Watcher(case.model)
    earlier: list[Record] = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}

    @contextlib.contextmanager
    def watching() -> Iterator[None]:
        watcher.records, watcher.is_backward = [], False
        before.update({name: array(p) for name, p in parameters(case)})
        with watcher, unseen_things_seen(watcher):
            yield
        after.update({name: array(p) for name, p in parameters(case)})
        watcher.is_backward = True

    def each(loss: Any) -> None:
        grads = {name: array(case.given.get(name, p.grad)) for name, p in parameters(case)}
        inputs = {name: (array(t), array(t.grad)) for name, t in case.inputs.items() if t.requires_grad}
        again = [record for record in earlier if any(g is not None for (g,) in record.grads)]
        records = [frozen(record) for record in (*again, *watcher.records)]
        steps.append(Step(records, array(loss), dict(before), dict(after), grads, inputs))
        earlier.extend(watcher.records)

    return steps, left_behind(case, watching, each)


def frozen(record: Record) -> Record:
    """Return a record as it is now, and let it forget the gradients: a later step may go through it again."""
    copy = replace(record, grads=[[*g] for g in record.grads], operand_grads=[[*g] for g in record.operand_grads])
    for heard in (*record.grads, *record.operand_grads):
        heard[0] = None
    return copy


def parameters(case: Case) -> Iterator[tuple[str, Any]]:
    """Yield the parameters of a case by their paths."""
    if case.model is not None:
        yield from ((unwrapped(name), p) for name, p in case.model.named_parameters())


# -- what a run leaves behind ----------------------------------------------------------------------


def plain(case: Case) -> dict[str, Any]:
    """Run a case unwatched and return what it left behind."""
    return left_behind(case)


def left_behind(
    case: Case, watch: Callable[[], Any] = contextlib.nullcontext, each: Callable[[Any], None] = lambda _: None
) -> dict[str, Any]:
    """Run a case and return all that somebody could tell runs apart by: every bit as bytes."""
    found: dict[str, Any] = {}
    with warnings.catch_warnings(), eager(case):
        warnings.simplefilter("ignore")  # of beta features in the programs
        for i, loss in enumerate(drive(case, watch)):
            found[f"loss {i}"] = bits(loss)
            found |= {f"grad {i} of {name}": bits(p.grad) for name, p in parameters(case)}
            found |= {f"grad {i} of {name}": bits(t.grad) for name, t in case.inputs.items() if t.is_leaf}
            each(loss)
    found |= {f"parameter {name}": bits(p) for name, p in parameters(case)}
    if case.model is not None:
        found |= {f"buffer {name}": bits(b) for name, b in case.model.named_buffers()}
    found |= {f"input {name}": bits(t) for name, t in case.inputs.items()}
    return found | {"random numbers": bits(torch.get_rng_state()), "calls": dict(case.calls)}


def bits(t: Any) -> bytes | None:
    """Return the numbers of a tensor as bytes."""
    return None if t is None else array(t).tobytes()


@contextlib.contextmanager
def eager(case: Case) -> Iterator[None]:
    """Run compiled code eagerly: a compiler may change the last bits, and cannot be watched by a mode."""
    if case.compiled:
        with torch.compiler.set_stance("force_eager"):
            yield
    else:
        yield


# -- a frame beside the truth ----------------------------------------------------------------------


@dataclass
class Comparison:
    """How many numbers of a frame are right, and what is wrong."""

    values: list[int] = field(default_factory=lambda: [0, 0])  # right, all
    grads: list[int] = field(default_factory=lambda: [0, 0])
    lines: list[int] = field(default_factory=lambda: [0, 0])
    scopes: list[int] = field(default_factory=lambda: [0, 0])
    edges: list[int] = field(default_factory=lambda: [0, 0])
    missing: list[str] = field(default_factory=list)  # calls that a gradient came to, and the frame lacks
    wrong: dict[str, list[str]] = field(default_factory=dict)

    def count(self, what: str, is_right: bool, text: str) -> None:
        """Count one number, line or scope."""
        counted = getattr(self, what)
        counted[0] += is_right
        counted[1] += 1
        if not is_right:
            self.wrong.setdefault(what, []).append(text)


def compared(frame: Any, step: Step, comparison: Comparison | None = None) -> Comparison:
    """Compare every node of a frame with what really happened in the step."""
    found = comparison or Comparison()
    nodes = [node for node in frame.graph if node.kind == "op" and not is_projection(frame, node)]
    pairs = aligned(frame, nodes, step.records)
    matched = {id(record) for record in pairs.values()}
    for record in step.records:
        if id(record) not in matched and any(g is not None for (g,) in record.grads):
            found.missing.append(f"{record.op} of line {record.line} in {record.scope!r}")
    parts: dict[int, list[Any]] = {}
    for node in frame.graph:
        if is_projection(frame, node):
            parts.setdefault(node.inputs[0], []).append(node)
    unseen = {node.id for node in nodes if node.id not in pairs}
    for node in nodes:
        if node.id in pairs:
            compare_call(frame, node, parts.get(node.id, []), pairs[node.id], found)
            compare_operands(frame, node, pairs[node.id], unseen, found)
    for node in [frame.graph.nodes[place] for place in unseen]:
        is_loss = node.id in frame.graph.outputs and same(frame.value(node), step.loss)
        found.count("values", is_loss, f"{node.name} ({node.op}): nothing of this kind was called then")
    compare_leaves(frame, step, found)
    return found


def is_projection(frame: Any, node: Any) -> bool:
    """Tell whether a node is one of the results of the node before."""
    return node.op == "getitem" and "index" in node.attrs and frame.value(node.inputs[0]) is None


def compare_call(frame: Any, node: Any, parts: Sequence[Any], record: Record, found: Comparison) -> None:
    """Compare one call: its numbers, its line and its scope."""
    where = f"{node.name} ({node.op}, line {record.line})"
    places = [(part, part.attrs["index"]) for part in parts] or [(node, 0)]
    for n, i in places:
        value, grad = frame.value(n), frame.grad(n)
        want, (wanted,) = record.values[i], record.grads[i]
        found.count("values", same(value, want), f"{where} [{i}]: {short(value)} is not {short(want)}")
        found.count("grads", same(grad, wanted), f"{where} [{i}]: {short(grad)} is not {short(wanted)}")
    if record.op != ANY:  # nobody knows the line in a script
        source = node.source
        is_right = source is not None and source.file.endswith("torch_programs.py") and source.line == record.line
        found.count("lines", is_right and source.code in line_of(source.line), f"{where}: {source}")
    scope = unwrapped(".".join(node.scope))
    found.count("scopes", scope == record.scope, f"{where}: {scope!r} is not {record.scope!r}")


def compare_operands(frame: Any, node: Any, record: Record, unseen: set[int], found: Comparison) -> None:
    """Compare what a call was given: every edge has to come from a node with the value that the operand had.

    A node that the mode cannot see is compared here, by the value and the gradient that the operand had.
    """
    if record.op == ANY:
        return
    pairs = list(zip(record.operands, record.operand_grads, strict=True))
    if len(pairs) == len(node.inputs) == 2 and not same(frame.value(node.inputs[0]), pairs[0][0]):
        pairs.reverse()  # 2 - x
    for place, src in enumerate(node.inputs):
        if place >= len(pairs) and frame.graph.nodes[src].kind == "param":
            continue  # what a block uses that is one node: a checkpoint
        value, (grad,) = pairs[place] if place < len(pairs) else (None, [None])
        text = f"operand {place} of {node.name} ({node.op}, line {record.line}) is {frame.graph.nodes[src].name}"
        is_right = same(frame.value(src), value)
        found.count("edges", is_right, f"{text}: {short(frame.value(src))} is not {short(value)}")
        if src in unseen and is_right:
            unseen.discard(src)
            found.count("values", True, text)
            found.count("grads", same(frame.grad(src), grad), f"{text}: {short(frame.grad(src))} is not {short(grad)}")


def compare_leaves(frame: Any, step: Step, found: Comparison) -> None:
    """Compare the parameters, and the inputs that want a gradient."""
    leaves = {unwrapped(node.name): node for node in frame.graph if node.kind != "op"}
    for name, grad in step.grads.items():
        if name in leaves:
            value, got = frame.value(leaves[name]), frame.grad(leaves[name])
            is_right = same(value, step.before[name]) or same(value, step.after[name])
            found.count("values", is_right, f"{name}: {short(value)}")
            found.count("grads", same(got, grad), f"{name}: {short(got)} is not {short(grad)}")
        elif grad is not None:
            found.missing.append(f"parameter {name}")
    numbers = [(frame.value(node), frame.grad(node)) for node in leaves.values()]
    for name, (value, grad) in step.inputs.items():
        candidates = [g for v, g in numbers if same(v, value)]
        if candidates:
            found.count("values", True, name)
            found.count("grads", any(same(g, grad) for g in candidates), f"{name}: {short(grad)}")
        elif grad is not None:
            found.missing.append(f"input {name}")


def aligned(frame: Any, nodes: Sequence[Any], records: Sequence[Record]) -> dict[int, Record]:
    """Return for each node the call it is: in order, of the same op and shape, with as many as possible matched.

    Where that leaves a choice (a call whose result was not used), the line decides, then the value.
    """
    if [normal(node.op) for node in nodes] == [record.op for record in records]:
        return {node.id: record for node, record in zip(nodes, records, strict=True)}
    count = len(records)
    best = np.zeros((len(nodes) + 1, count + 1))
    for i in range(len(nodes) - 1, -1, -1):
        for j in range(count - 1, -1, -1):
            score = likeness(frame, nodes[i], records[j])
            both = best[i + 1, j + 1] + score if score else 0.0
            best[i, j] = max(best[i + 1, j], best[i, j + 1], both)
    pairs, i, j = {}, 0, 0
    while i < len(nodes) and j < count:
        score = likeness(frame, nodes[i], records[j])
        if score and best[i, j] == best[i + 1, j + 1] + score:
            pairs[nodes[i].id] = records[j]
            i, j = i + 1, j + 1
        elif best[i, j] == best[i, j + 1]:
            j += 1
        else:
            i += 1
    return pairs


def likeness(frame: Any, node: Any, record: Record) -> float:
    """Return how well a node fits a call; 0 if it cannot be it."""
    if record.op not in {normal(node.op), ANY}:
        return 0.0
    is_single = len(record.values) == 1 and record.values[0] is not None
    if is_single and frame.value(node) is not None and np.shape(record.values[0]) != node.shape:
        return 0.0
    score = 1000.0 if record.op != ANY else 500.0
    score += 2.0 if node.source is not None and node.source.line == record.line else 0.0
    return score + (1.0 if is_single and same(frame.value(node), record.values[0]) else 0.0)


def line_of(number: int) -> str:
    """Return a line of the file of programs."""
    return Path(FILE).read_text("utf-8").splitlines()[number - 1]


def short(x: Any) -> str:
    """Return a few numbers of an array."""
    if x is None:
        return "None"
    return f"{np.shape(x)}{np.ravel(np.asarray(x))[:3].tolist()}"


# -- all the programs ------------------------------------------------------------------------------


@dataclass
class Verdict:
    """What came of watching one program: what it left behind, watched or not, and its frames beside the truth."""

    name: str
    unwatched: dict[str, Any]
    under_truth: dict[str, Any]
    watched: dict[str, Any]
    steps: list[Step]
    frames: list[Any]
    hooks_left: list[str]
    comparison: Comparison  # of every step


def verdict(make: Callable[[], Case], capture: Callable[..., Any]) -> Verdict:
    """Run a program three times: unwatched, under the truth, and under ``capture(model)``."""
    unwatched = plain(make())
    steps, under_truth = truth(make())
    case = make()
    before = hooks(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with capture(case.model) as cap:
            watched = left_behind(case)
        frames = cap.frames
    found = Comparison()
    for frame, step in zip(frames, steps, strict=False):
        compared(frame, step, found)
    return Verdict(make.__name__, unwatched, under_truth, watched, steps, frames, sorted(hooks(case) - before), found)


def hooks(case: Case) -> set[str]:
    """Return everything by which somebody could still be listening to a program."""
    found = {f"mode {i}" for i in range(torch._C._len_torch_function_stack())}
    found |= {f"global hook {k}" for k in (*everywhere._global_forward_hooks, *everywhere._global_forward_pre_hooks)}
    found |= {f"optimizer hook {k}" for k in optimizers._global_optimizer_pre_hooks}
    found.add(f"apply {torch.autograd.Function.__dict__['apply']}")
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    found |= {f"stance {dynamo._stance}"} if dynamo is not None else set()
    for name, t in (*parameters(case), *case.inputs.items()):
        found |= {f"{name} {k}" for k in (t._backward_hooks or ())}
        found |= {f"{name} {k}" for k in (getattr(t, "_post_accumulate_grad_hooks", None) or ())}
    for path, module in case.model.named_modules() if case.model is not None else ():
        found |= {f"{path} {k}" for k in (*module._forward_hooks, *module._forward_pre_hooks, *module._backward_hooks)}
    return found


# -- after the fact --------------------------------------------------------------------------------


@dataclass
class AfterTheFact:
    """What frames made from nothing but a loss have of the truth: a node is known by the gradient that came to it."""

    changed: list[str]  # what the run left behind differently
    grads: list[int] = field(default_factory=lambda: [0, 0])  # found, all
    values: list[int] = field(default_factory=lambda: [0, 0])  # known and right, all
    wrong: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def after_the_fact(make: Callable[[], Case], frame: Callable[..., Any]) -> AfterTheFact:
    """Run a program, making a frame of each loss before its backward pass, and look in them for what was computed."""
    unwatched, (steps, _), case = plain(make()), truth(make()), make()
    frames, forward = [], case.step

    def step(model: nn.Module | None) -> Any:
        loss = forward(model)
        frames.append(frame(loss, params=model))
        return loss

    case.step = step
    watched = left_behind(case)
    found = AfterTheFact([key for key in unwatched if unwatched[key] != watched.get(key)])
    for made, one in zip(frames, steps, strict=True):
        found_in(made, one, found)
    return found


def found_in(frame: Any, step: Step, found: AfterTheFact) -> None:
    """Look in a frame for each result that a gradient came to: some node has to have that gradient, and its value.

    A value may be unknown, but not another one: unless the gradient is that of several nodes, and one is unknown.
    """
    nodes: dict[Any, list[Any]] = {}
    for node in frame.graph:
        nodes.setdefault(digest(frame.grad(node)), []).append(node)
    for record in step.records:
        for value, (grad,) in zip(record.values, record.grads, strict=True):
            if grad is None:
                continue
            alike = nodes.get(digest(grad), [])
            where = f"{record.op} of line {record.line}"
            is_right = any(same(frame.value(node), value) for node in alike)
            is_unknown = any(frame.value(node) is None for node in alike)
            found.grads[0] += bool(alike)
            found.grads[1] += 1
            found.values[0] += is_right
            found.values[1] += 1
            if not alike:
                found.missing.append(f"{where}: {short(grad)}")
            elif not is_right and not is_unknown:
                found.wrong.append(f"{where}: {short(value)} is none of {[short(frame.value(node)) for node in alike]}")


def digest(x: Any) -> Any:
    """Return something that is equal for equal numbers of equal shape."""
    if x is None:
        return None
    a = np.asarray(x)
    a = a.astype(np.complex128 if a.dtype.kind == "c" else np.float64) + 0.0  # no negative zeros
    return a.shape, a.tobytes()
