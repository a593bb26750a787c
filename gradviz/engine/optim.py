"""Optimizers: how parameters follow their gradients.

The updates are PyTorch's, operation by operation, and the tests hold them against it. An
optimizer keeps its own state for each parameter; `state_dict` hands out copies. Every new
value is computed before the first parameter is changed.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np

from ..errors import GradvizTypeError, GradvizValueError, ShapeError
from .leaves import Exposed, replace, settle_leaf, value_of
from .sites import where
from .tensor import Tensor

State = dict[str, Any]


class Stepped:
    """The optimizers that are alive and have a past; ``count`` grows with every step that any of them makes.

    So whoever watches parameters can tell at once that an optimizer has been at work, and then look which.
    """

    def __init__(self) -> None:
        self.count = 0
        self._members: list[weakref.ref[Optimizer]] = []

    def add(self, optimizer: Optimizer) -> None:
        """Add an optimizer that was not there."""
        self._members = [ref for ref in self._members if ref() is not None]
        self._members.append(weakref.ref(optimizer))

    def members(self) -> list[Optimizer]:
        """Return the optimizers, the one that began first before the others."""
        return [optimizer for ref in self._members if (optimizer := ref()) is not None]


STEPPED = Stepped()


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a quick function that reads these attributes."""
    if not names:
        return lambda _: ()
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda optimizer: (get(optimizer),)


class Optimizer:
    """What all optimizers share: the parameters, their state, and ``step()``.

    ``params`` is an iterable of leaves that require a gradient, such as ``model.parameters()``.
    A parameter whose gradient is None is left alone.
    """

    options: ClassVar[tuple[str, ...]] = ()  # the names of the settings that state_dict holds
    _settings: ClassVar[Any] = staticmethod(_getter(()))  # reads them all

    def __init__(self, params: Iterable[Tensor]) -> None:
        self.params = _checked_params(params)
        self._state: list[State] = [{} for _ in self.params]
        self._steps = 0
        self._used: tuple[Any, ...] | None = None  # the settings of the last step

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._settings = staticmethod(_getter(cls.options))

    def step(self) -> None:
        """Change every parameter that has a gradient by one update."""
        if not self._steps:
            self._begin()
        updates = []
        for i, p in enumerate(self.params):
            g = p._grad
            if g is not None:
                value = settle_leaf(p) if p._data.__class__ is Exposed else p._data
                state = dict(self._state[i])
                g = value_of(g) if isinstance(g, Tensor) else g
                updates.append((i, p, self._updated(value, g, state), state))
        for i, p, value, state in updates:
            replace(p, value)
            self._state[i] = state
        self._used = self._settings(self)
        self._steps += 1
        STEPPED.count += 1

    def _begin(self) -> None:
        """Let it be known that there is an optimizer with a past."""
        if not any(known is self for known in STEPPED.members()):
            STEPPED.add(self)

    def _updated(self, value: Any, g: Any, state: State) -> Any:
        """Return the new value of one parameter and bring its state up to date."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.params:
            p.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Return the settings and a copy of the state of each parameter, in order."""
        state = [{key: _copied(value) for key, value in one.items()} for one in self._state]
        options = {name: getattr(self, name) for name in self.options}
        return {"kind": type(self).__name__, "options": options, "state": state}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned; raises `GradvizValueError` if it is of another optimizer."""
        kind, count = saved.get("kind"), len(saved.get("state", ()))
        if kind != type(self).__name__ or count != len(self.params):
            raise GradvizValueError(
                f"this state is of {kind} with {count} parameters, "
                f"not of {type(self).__name__} with {len(self.params)}",
                where=where(),
            )
        for p, state in zip(self.params, saved["state"], strict=True):
            _check_state(p, state)
        for name in self.options:
            setattr(self, name, saved["options"][name])
        self._state = [{key: _copied(value) for key, value in state.items()} for state in saved["state"]]
        self._begin()
        STEPPED.count += 1

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.options)
        return f"{type(self).__name__}({len(self.params)} parameters, {options})"


class SGD(Optimizer):
    """Gradient descent, with momentum, Nesterov momentum and weight decay if wanted.

    With ``momentum`` the velocity is ``v = momentum * v + g`` (``g`` for the first step) and the
    update ``-lr * v``; ``nesterov`` takes ``-lr * (g + momentum * v)`` (Sutskever et al. 2013).
    ``weight_decay`` adds ``weight_decay * w`` to the gradient.

    >>> import gradviz
    >>> w = gradviz.Tensor(3.0)
    >>> descent = SGD([w], lr=0.1)
    >>> (w * w).backward()
    >>> descent.step()
    >>> round(w.item(), 12)
    2.4
    """

    options = ("lr", "momentum", "nesterov", "weight_decay")

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.0,
        *,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params)
        self.lr = _number("lr", lr)
        self.momentum = _number("momentum", momentum)
        self.weight_decay = _number("weight_decay", weight_decay)
        self.nesterov = nesterov
        if nesterov and not momentum:
            raise GradvizValueError("nesterov needs a momentum above 0", where=where(), hint="momentum=0.9")

    def _updated(self, value: Any, g: Any, state: State) -> Any:
        if self.weight_decay:
            g = g + self.weight_decay * value
        if self.momentum:
            v = state["velocity"] = self.momentum * state["velocity"] + g if "velocity" in state else _copied(g)
            g = g + self.momentum * v if self.nesterov else v
        return value - self.lr * g


class RMSprop(Optimizer):
    """Divide each gradient by a running root mean square of its past (Tieleman and Hinton 2012).

    ``alpha`` is the share of the past in the running mean; ``centered`` takes the variance
    instead of the mean square; ``momentum`` is that of `SGD`.

    >>> import gradviz
    >>> w = gradviz.Tensor(3.0)
    >>> descent = RMSprop([w], lr=0.1)
    >>> (w * w).backward()
    >>> descent.step()
    >>> round(w.item(), 6)
    2.0
    """

    options = ("lr", "alpha", "eps", "weight_decay", "momentum", "centered")

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        *,
        centered: bool = False,
    ) -> None:
        super().__init__(params)
        self.lr = _number("lr", lr)
        self.alpha = _number("alpha", alpha)
        self.eps = _number("eps", eps)
        self.weight_decay = _number("weight_decay", weight_decay)
        self.momentum = _number("momentum", momentum)
        self.centered = centered

    def _updated(self, value: Any, g: Any, state: State) -> Any:
        if self.weight_decay:
            g = g + self.weight_decay * value
        square = state["square"] = self.alpha * state.get("square", 0.0) + (1.0 - self.alpha) * g * g
        if self.centered:
            mean = state.get("mean", 0.0)
            mean = state["mean"] = mean + (1.0 - self.alpha) * (g - mean)
            square = square - mean * mean
        g = g / (_root(square) + self.eps)
        if self.momentum:
            g = state["velocity"] = self.momentum * state.get("velocity", 0.0) + g
        return value - self.lr * g


class Adam(Optimizer):
    """Running means of the gradient and its square, corrected for their start (Kingma and Ba 2015).

    ``betas`` are the shares of the past in the two means; ``weight_decay`` adds
    ``weight_decay * w`` to the gradient.

    >>> import gradviz
    >>> w = gradviz.Tensor(3.0)
    >>> descent = Adam([w], lr=0.1)
    >>> (w * w).backward()
    >>> descent.step()
    >>> round(w.item(), 6)
    2.9
    """

    options = ("lr", "betas", "eps", "weight_decay")

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params)
        self.lr = _number("lr", lr)
        self.betas = (_number("betas[0]", betas[0], below=1.0), _number("betas[1]", betas[1], below=1.0))
        self.eps = _number("eps", eps)
        self.weight_decay = _number("weight_decay", weight_decay)

    def _updated(self, value: Any, g: Any, state: State) -> Any:
        if self.weight_decay:
            g = g + self.weight_decay * value
        return self._moved(value, g, state)

    def _moved(self, value: Any, g: Any, state: State) -> Any:
        first, second = self.betas
        t = state["step"] = state.get("step", 0) + 1
        mean = state.get("mean", 0.0)
        mean = state["mean"] = mean + (1.0 - first) * (g - mean)
        square = state["square"] = second * state.get("square", 0.0) + (1.0 - second) * g * g
        size = self.lr / (1.0 - first**t)
        return value - size * mean / (_root(square) / math.sqrt(1.0 - second**t) + self.eps)


class AdamW(Adam):
    """`Adam` whose weight decay shrinks the parameters directly (Loshchilov and Hutter 2019)."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _updated(self, value: Any, g: Any, state: State) -> Any:
        return self._moved(value * (1.0 - self.lr * self.weight_decay), g, state)


def _root(x: Any) -> Any:
    return math.sqrt(x) if x.__class__ is float and x >= 0.0 else np.sqrt(x)


def _copied(value: Any) -> Any:
    return np.array(value) if isinstance(value, np.ndarray) else value


def _checked_params(params: Iterable[Tensor]) -> list[Tensor]:
    """Return the parameters as a list; refuse what cannot be one."""
    if isinstance(params, Tensor):
        raise GradvizTypeError("params is one Tensor", where=where(), hint=f"give a list: [{params.name or 'w'}]")
    found = list(params)
    if not found:
        raise GradvizValueError("there are no parameters to change", where=where())
    for i, p in enumerate(found):
        if not isinstance(p, Tensor):
            raise GradvizTypeError(f"params[{i}] is a {type(p).__name__}, not a Tensor", where=where())
        if not p.is_leaf or not p.requires_grad:
            raise GradvizTypeError(
                f"params[{i}], {p.label}, is no parameter",
                where=where(),
                hint="a parameter is made by Tensor(...), not computed, and requires a gradient",
            )
    if len({id(p) for p in found}) < len(found):
        raise GradvizValueError("a parameter occurs twice in params", where=where())
    return found


def _number(name: str, value: float, below: float = math.inf) -> float:
    number = float(value)
    if not 0.0 <= number < below:
        limit = "" if below == math.inf else f" and below {below}"
        raise GradvizValueError(f"{name} is {value}", where=where(), hint=f"it must be at least 0{limit}")
    return number


def _check_state(p: Tensor, state: Mapping[str, Any]) -> None:
    for key, value in state.items():
        if key != "step" and np.shape(value) != p.shape:
            raise ShapeError(f"saved {key} of shape {np.shape(value)} for {p.label} of shape {p.shape}", where=where())
