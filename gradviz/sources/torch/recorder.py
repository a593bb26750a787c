"""`gradviz.capture` for PyTorch: every call of a step with its value, its gradient, its module and its line."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from threading import get_ident
from types import CodeType, FrameType, TracebackType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.sources.torch import kinds, presence
from gradviz.sources.torch.calls import Call, with_slots, with_slots_in_args
from gradviz.sources.torch.captured import Captured
from gradviz.sources.torch.earlier import Earlier, leaves_behind
from gradviz.sources.torch.framing import Structure
from gradviz.sources.torch.looks import name_of
from gradviz.sources.torch.measuring import Unchanged
from gradviz.sources.torch.modules import Modules
from gradviz.sources.torch.moments import Kept, Moment, Structures
from gradviz.sources.torch.numbers import address
from gradviz.sources.torch.tape import Tape, has_tensors, is_leaf, sinks, version

__all__ = ["Capture"]

LEVELS = ("full", "stats")
USERS_BLOCKS = frozenset(("CheckpointFunction",))  # called again, these would run the program's own code
NOTHING: Mapping[str, Any] = {}


class Capture(Captured):
    """Records what a PyTorch program computes, from ``start`` (or ``with``) to ``stop``.

    A step ends with a backward pass: everything its result was made of is kept as one `Frame`. See `gradviz.capture`.
    """

    def __init__(self, model: Any = None, *, keep: int | None = None, level: str = "full") -> None:
        if model is not None and not isinstance(model, torch.nn.Module):
            raise GradvizTypeError(f"model is a {type(model).__name__}", hint="give a torch.nn.Module, or nothing")
        self.on_step: Callable[[Moment], None] | None = None
        self.optimizer: torch.optim.Optimizer | None = None  # the one that has stepped last
        self.begins_at_model = False  # whether what is computed without gradients before a model runs is left out
        self.parameters: dict[str, torch.Tensor] = {}  # those of the last step and of the model, by name
        self._model = model
        self._level = level
        self._modules = Modules(model)
        self._structures = Structures()
        self._kept = Kept(keep)
        self._unchanged = Unchanged()
        self._tape = self._new_tape()
        self.use(level)
        self._roots: list[int] = []  # where the backward passes of this step began
        self._leaves_inside: dict[int, torch.Tensor] | None = None  # of a block that is one node
        self._structure: Structure | None = None  # that of this step, once its backward pass is over
        self._last_root: Callable[[], Any] = type(None)
        self._is_done = False  # a backward pass is over, and nothing has been computed since
        self._muted = 0
        self._thread = 0
        self._function: FrameType | None = None  # that of an autograd.Function that runs, seen only when it began
        self._home: Any = None  # the frame of the generator that this was started in
        self._mode: _Mode | None = None
        self._present: presence.Presence | None = None

    # -- beginning and end ---------------------------------------------------------------------

    def start(self) -> Capture:
        """Begin to record what this thread computes."""
        if self._mode is not None:
            raise GradvizValueError("this capture has been started already", hint="stop() it, or make another")
        self._thread = get_ident()
        self._home = presence.generator_frame(sys._getframe(1))
        self._mode = _Mode(self)
        self._present = presence.Presence(self)
        self._present.enter()
        torch.overrides._push_mode(self._mode)
        return self

    def use(self, level: str) -> None:
        """Copy from the next step on (``"full"``), or only measure (``"stats"``)."""
        if level not in LEVELS:
            raise GradvizValueError(f"level={level!r}", hint=f"choose one of {', '.join(LEVELS)}")
        self._level = level
        if not self._tape.calls:
            self._tape = self._new_tape(self._tape.earlier)

    def stop(self) -> None:
        """Finish the last step and leave nothing behind; a second call does nothing."""
        if self._mode is None:
            return
        presence.remove_mode(self._mode)
        self._mode = self._home = None
        if self._present is not None:
            self._present.leave()
            self._present = None
        self._modules.unwind()
        try:
            self._cut()
        finally:
            self._tape.close()
            self._unchanged = Unchanged()
            self.optimizer, self.parameters = None, {}

    def abandon(self) -> None:
        """Record nothing more in this process: it is the child of a fork."""
        self._muted = 1 << 30
        self.on_step = None

    def __enter__(self) -> Capture:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_on(self) -> bool:
        """Whether it records at present."""
        return self._mode is not None

    @property
    def is_listening(self) -> bool:
        """Whether what happens at this moment, in this thread, is to be recorded."""
        if self._muted or self._mode is None or get_ident() != self._thread:
            return False
        if kinds.TRACING() is not None or (kinds.DISPATCH_MODES() and kinds.is_traced()):
            return False
        if self._function is not None:
            if presence.is_running(self._function):
                return False
            self._function = None
        return self._home is None or self._home.f_back is not None

    # -- steps that are asked for --------------------------------------------------------------

    @property
    def _settled(self) -> Kept:
        """The steps that are kept, the last one too if its backward pass is over."""
        if self._is_done:
            self._cut()
        return self._kept

    def taken(self, loss: Any = None) -> Moment:
        """Finish the step that made ``loss`` (None: that of the last backward pass) and return it.

        Raises GradvizValueError if nothing of it was recorded.
        """
        place = self._tape.find(loss) if isinstance(loss, torch.Tensor) else None
        if place is not None and place not in self._roots:
            self._roots, self._structure = [place], None
        before = self._kept.count
        if place is not None or self._roots:
            self._cut()
        elif loss is not None and self._kept.moments and self._last_root() is loss:
            return self._kept.moments[-1]
        if self._kept.count == before:
            raise GradvizValueError(
                "nothing was recorded of this loss", hint="compute it and call backward() while the capture is on"
            )
        return self._kept.moments[-1]

    # -- recording -----------------------------------------------------------------------------

    def _new_tape(self, earlier: Earlier | None = None) -> Tape:
        return Tape(self._modules.named, None if self._level == "full" else self._unchanged, earlier)

    def call(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Make a call of the program, and record it."""
        kind = kinds.kind_of(func)
        if kind == kinds.EXPOSES:
            place = address(args[0])
            self._unchanged.forget(place)
            self._tape.forget_leaves(place)
            kind = kinds.SILENT if func.__name__ != "__get__" or is_leaf(args[0]) else kinds.CALL
        if kind == kinds.SILENT or not self.is_listening:
            if self._leaves_inside is not None:
                self._look_inside(args, kwargs)
            return func(*args, **kwargs)
        if torch._C._functorch.peek_interpreter_stack() is not None:  # within vmap or grad: seen from outside, as one
            self._tape.unseen_site = presence.site(sys._getframe(2))[0]
            return func(*args, **kwargs)
        if kind == kinds.BACKWARD:
            return self._backward(func, args, kwargs)
        if self._is_done and not torch.is_grad_enabled():
            return func(*args, **kwargs)  # an update, or a look at the results
        if kind == kinds.FORGETS:
            out = func(*args, **kwargs)
            self._tape.forget(args[0])
            return out
        site, is_hidden = presence.site(sys._getframe(2))
        if is_hidden:
            return func(*args, **kwargs)
        return self._recorded(func, args, kwargs, site)

    def _recorded(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], site: tuple[CodeType | None, int]
    ) -> Any:
        """Make a call and enter it on the tape."""
        if self._is_done:
            self._cut()
        operands: list[torch.Tensor] = []
        slots = with_slots_in_args(args, operands)
        named_slots = with_slots(dict(kwargs), operands) if kwargs else NOTHING
        if not operands:  # new numbers: they are entered when they are used
            return func(*args, **kwargs)
        tape = self._tape
        op, is_reversed = name_of(func)
        if op[-1] == "_" and len(operands) == 1 and not operands[0].is_floating_point():
            return func(*args, **kwargs)  # a counter, as BatchNorm has one
        is_cut = op == "detach" or not torch.is_grad_enabled()
        inputs = [tape.place_of(t, is_cut=is_cut) for t in operands]
        versions = [version(t) for t in operands]
        random = torch.get_rng_state() if op in kinds.RANDOM and self._level == "full" else None
        out = func(*args, **kwargs)
        changed = [t for t, before in zip(operands, versions, strict=True) if version(t) != before]
        if any(out is t for t in operands) and not changed:
            return out  # nothing was to be done, as by contiguous()
        if out is NotImplemented or (not changed and not has_tensors(out)):
            return out
        call = Call(op, inputs=inputs, func=func, args=slots, kwargs=named_slots, scope=self._modules.running[-1])
        call.site, call.random = site, random
        if is_reversed and len(inputs) == 2:
            call.inputs, call.func = [inputs[1], inputs[0]], presence.swapped(func)
        tape.add_results(call, out, changed)
        return out

    def _look_inside(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Take note of the parameters that a block uses which is recorded as one node."""
        operands: list[torch.Tensor] = []
        with_slots([args, kwargs], operands)
        self._leaves_inside.update((id(t), t) for t in operands if is_leaf(t) and t.requires_grad)  # type: ignore[union-attr]

    def function_applied(self, cls: Any, args: Sequence[Any], kwargs: Mapping[str, Any], apply: Any) -> Any:
        """Make a call of a user's autograd.Function, and record it as one node."""
        site, _ = presence.site(sys._getframe(2))
        self._muted += 1  # what is called inside, and what is called to record it
        try:
            return self._applied(cls, args, kwargs, apply, site)
        finally:
            self._muted -= 1

    def function_begun(self, args: Sequence[Any], frame: FrameType) -> None:
        """Take note of a call of a user's autograd.Function whose result will be met later, and not of its inside."""
        if self._is_done:
            self._cut()
        self._tape.begin(args, self._modules.running[-1], presence.site(frame)[0])
        self._function = frame

    def _applied(
        self, cls: Any, args: Sequence[Any], kwargs: Mapping[str, Any], apply: Any, site: tuple[CodeType | None, int]
    ) -> Any:
        if self._is_done:
            self._cut()
        tape = self._tape
        operands: list[torch.Tensor] = []
        slots, named_slots = with_slots_in_args(args, operands), with_slots(dict(kwargs), operands)
        inputs = [tape.place_of(t) for t in operands]
        versions = [version(t) for t in operands]
        is_block = cls.__name__ in USERS_BLOCKS
        self._leaves_inside = {} if is_block else None
        try:
            out = apply(*args, **kwargs)
        finally:
            inside, self._leaves_inside = self._leaves_inside, None
        inputs += [tape.place_of(t) for t in (inside or {}).values() if all(t is not known for known in operands)]
        changed = [t for t, before in zip(operands, versions, strict=True) if version(t) != before]
        call = Call(cls.__name__, inputs=inputs, args=slots, kwargs=named_slots, scope=self._modules.running[-1])
        call.func, call.site = None if is_block else cls.apply, site
        tape.add_results(call, out, changed)
        return out

    def scripted(self, module: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """Record what a scripted module has computed: nothing inside of it is seen."""
        site, _ = presence.site(sys._getframe(2))
        self._muted += 1
        try:
            operands: list[torch.Tensor] = []
            with_slots([args, dict(kwargs), list(module.parameters())], operands)
            inputs = [self._tape.place_of(t) for t in operands]
            call = Call(str(module.original_name), inputs=inputs, scope=self._modules.running[-1], site=site)
            self._tape.add_results(call, out, ())
        finally:
            self._muted -= 1

    # -- modules -------------------------------------------------------------------------------

    def entered(self, module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Take note that a module begins to run."""
        tape = self._tape
        is_apart = self.begins_at_model or not torch.is_grad_enabled()  # or a look at a model, batch after batch
        if is_apart and len(self._modules.running) == 1 and tape.calls and not tape.needs_grad and not self._is_done:
            earlier = tape.earlier
            tape.close()
            self._tape = self._new_tape(earlier)
        if len(self._modules.running) == 1:
            self._tape.arguments.append((type(module), args, kwargs))
        self._modules.enter(module)

    def left(self) -> None:
        """Take note that a module has ended."""
        self._modules.leave()

    # -- steps ---------------------------------------------------------------------------------

    def _backward(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run a backward pass of the program, and keep its gradients."""
        given = args[0] if args else kwargs.get("outputs", kwargs.get("tensors"))
        roots = [t for t in (given if isinstance(given, tuple | list) else [given]) if isinstance(t, torch.Tensor)]
        if func is torch.autograd.grad and kwargs.get("create_graph"):
            return self._differentiated(func, args, kwargs, roots)
        self._tape.unseen_site = presence.site(sys._getframe(3))[0]
        places = [self._tape.place_of(t) for t in roots]
        self._muted += 1
        self._tape.is_passing = True
        try:
            out = func(*args, **kwargs)
        finally:
            self._muted -= 1
            self._tape.is_passing = False
        self._tape.collect()
        if func is torch.autograd.grad:
            self._keep_returned(args, kwargs, out)
        self._roots = list(dict.fromkeys([*self._roots, *places]))
        self._last_root = weakref.ref(roots[-1]) if roots else type(None)
        self._is_done = True
        self._structure = self._structures.of(self._tape, self._roots)  # while variables say what is what
        return out

    def _differentiated(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], roots: Sequence[torch.Tensor]
    ) -> Any:
        """Record a derivative that is a part of the computation: one node."""
        tape = self._tape
        wanted = args[1] if len(args) > 1 else kwargs["inputs"]
        operands = [*roots, *(wanted if isinstance(wanted, tuple | list) else [wanted])]
        operands += [t for t in leaves_behind(roots) if all(t is not known for known in operands)]
        inputs = [tape.place_of(t) for t in operands]
        site, _ = presence.site(sys._getframe(3))
        self._muted += 1
        tape.is_muted = True
        try:
            out = func(*args, **kwargs)
        finally:
            self._muted -= 1
            tape.is_muted = False
        tape.add_results(Call("grad", inputs=inputs, scope=self._modules.running[-1], site=site), out, ())
        return out

    def _keep_returned(self, args: Sequence[Any], kwargs: Mapping[str, Any], out: Sequence[Any]) -> None:
        """Keep the gradients that autograd.grad has returned instead of leaving them in ``.grad``."""
        wanted = args[1] if len(args) > 1 else kwargs["inputs"]
        for t, g in zip(wanted if isinstance(wanted, tuple | list) else [wanted], out, strict=True):
            place = self._tape.find(t) if isinstance(t, torch.Tensor) else None
            if place is not None and isinstance(g, torch.Tensor):
                self._tape.set_grad(self._tape.calls[place], g)

    def optimizer_steps(self, optimizer: torch.optim.Optimizer) -> None:
        """Take note that the parameters are about to be changed."""
        if self._tape.is_passing:  # in a hook, while the gradients arrive
            self.optimizer = optimizer
            self._tape.collect({id(p) for group in optimizer.param_groups for p in group["params"]})
        elif self.is_listening:
            self.optimizer = optimizer
            if self._is_done:
                self._cut()

    def _cut(self) -> None:
        """End a step: keep what its result was made of, and begin another."""
        tape, outputs, structure = self._tape, self._roots, self._structure
        self._is_done, self._roots, self._structure = False, [], None
        if not outputs and self._kept.count == 0:  # a forward pass alone; after a step it is a look at the model
            outputs = sinks(tape.calls)
        if outputs:
            structure = structure or self._structures.of(tape, outputs)
            self._kept.add(structure, tape.calls, has_values=tape.keeps_values)
            if self.on_step is not None:
                self.parameters = {**self._modules.parameters(), **tape.parameters(structure.graph, structure.places)}
        self._tape = self._new_tape(tape.close())
        if outputs and self.on_step is not None:
            self.on_step(self._kept.moments[-1])


class _Mode(TorchFunctionMode):  # type: ignore[misc]
    """Hands every call of a function of PyTorch to a capture."""

    def __init__(self, capture: Capture) -> None:
        self._call = capture.call
        self._kinds = kinds.known

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if self._kinds.get(func) == kinds.SILENT and not kwargs:  # the most of them, when gradients are set to zero
            return func(*args)
        return self._call(func, args, kwargs or {})
