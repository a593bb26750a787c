"""The libraries that are compared: how each makes leaves, differentiates, and keeps a graph.

A contestant is also the namespace its workloads call (``lib.relu``, ``lib.tanh``, ...). To add one,
write its class here and list it in ``CONTESTANTS``; nothing else needs to know.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.harness import Result, Workload

FUNCTIONS = ("tanh", "exp", "log", "sqrt", "sum", "mean")


class Contestant:
    """A library whose tensors record what is done to them and have ``backward`` and ``grad``."""

    name: str
    package: str
    arrays = True
    native = False  # its nodes live outside Python, where tracemalloc does not see them

    def __init__(self) -> None:
        self.load()

    def load(self) -> None:
        """Import the library and bind what the workloads call."""
        raise NotImplementedError

    def bind(self, module: Any, relu: Callable[[Any], Any]) -> None:
        """Take the functions the workloads call from ``module``."""
        for function in FUNCTIONS:
            setattr(self, function, getattr(module, function))
        self.relu = relu

    def leaf(self, value: Any) -> Any:
        """Return a tensor that wants a gradient; an array is wrapped without a copy where possible."""
        raise NotImplementedError

    def constant(self, value: float) -> Any:
        """Return a number that wants no gradient, in the form the library handles best."""
        return value

    def number(self, loss: Any) -> float:
        """Return the loss as a float."""
        return float(loss.data)

    def forget(self, leaf: Any) -> None:
        """Drop the gradient a leaf has."""
        leaf.grad = None

    def prepare(self, leaves: Sequence[Any]) -> Sequence[Any]:
        """Return the leaves as tensors."""
        return [self.leaf(value) for value in leaves]

    def run(self, work: Workload, leaves: Sequence[Any]) -> Result:
        """Forget old gradients; return the value and the gradient of every leaf."""
        for leaf in leaves:
            self.forget(leaf)
        total = 0.0
        for item in work.items:
            loss = work.loss(self, leaves, item)
            loss.backward()
            total += self.number(loss)
        return total, [leaf.grad for leaf in leaves]

    def hold(self, work: Workload, leaves: Sequence[Any]) -> Any:
        """Return what keeps the recorded graph of the first item alive."""
        return work.loss(self, self.prepare(leaves), work.items[0])


class Gradviz(Contestant):
    """This library."""

    name = "gradviz"
    package = "gradviz"

    def load(self) -> None:
        """Import the library and bind what the workloads call."""
        self.gradviz = import_module("gradviz")
        self.leaf = self.gradviz.Tensor
        self.forget = self.gradviz.Tensor.zero_grad
        self.constant = self.gradviz.constant
        self.bind(self.gradviz, self.gradviz.relu)


class GradvizPaused(Gradviz):
    """This library with the cyclic collector paused: its graphs have no cycles."""

    name = "gradviz, gc paused"

    def run(self, work: Workload, leaves: Sequence[Any]) -> Result:
        """Return the value and the gradient of every leaf."""
        with self.gradviz.gc_paused():
            return super().run(work, leaves)


class Micrograd(Contestant):
    """Closures on scalars; depth-first search by recursion."""

    name = "micrograd"
    package = "micrograd"
    arrays = False

    def load(self) -> None:
        """Import the library and bind what the workloads call."""
        self.leaf = self.constant = import_module("micrograd.engine").Value

    def relu(self, x: Any) -> Any:
        """Return x where it is positive, else 0."""
        return x.relu()

    def forget(self, leaf: Any) -> None:
        """Drop the gradient a leaf has."""
        leaf.grad = 0


class Autograd(Contestant):
    """Functions in, derivative functions out."""

    name = "autograd"
    package = "autograd"

    def load(self) -> None:
        """Import the library and bind what the workloads call."""
        self.autograd = import_module("autograd")
        module = import_module("autograd.numpy")
        self.bind(module, lambda x: module.maximum(x, 0.0))

    def prepare(self, leaves: Sequence[Any]) -> Sequence[Any]:
        """Return the plain values: boxes are made with every call."""
        return leaves

    def run(self, work: Workload, leaves: Sequence[Any]) -> Result:
        """Return the value and the gradient of every leaf."""
        args = tuple(range(len(leaves)))
        total, grads = 0.0, [0.0] * len(leaves)
        for item in work.items:
            differentiate = self.autograd.value_and_grad(
                lambda *tensors, item=item: work.loss(self, tensors, item), args
            )
            value, gradient = differentiate(*leaves)
            total += float(value)
            grads = [a + b for a, b in zip(grads, gradient, strict=True)] if len(work.items) > 1 else gradient
        return total, grads

    def hold(self, work: Workload, leaves: Sequence[Any]) -> Any:
        """Return what keeps the recorded graph of the first item alive."""
        record = import_module("autograd.differential_operators").make_vjp
        args = tuple(range(len(leaves)))
        return record(lambda *tensors: work.loss(self, tensors, work.items[0]), args)(*leaves)


class MyGrad(Contestant):
    """Tensors over NumPy; arrays in use are made read-only ("memory guard")."""

    name = "MyGrad"
    package = "mygrad"
    guard = contextlib.nullcontext

    def load(self) -> None:
        """Import the library and bind what the workloads call."""
        self.mygrad = import_module("mygrad")
        self.bind(self.mygrad, lambda x: self.mygrad.maximum(x, 0.0))

    def leaf(self, value: Any) -> Any:
        """Return a tensor that wants a gradient."""
        return self.mygrad.tensor(value, copy=False)

    def constant(self, value: float) -> Any:
        """Return a tensor that wants no gradient."""
        return self.mygrad.tensor(value, constant=True)

    def run(self, work: Workload, leaves: Sequence[Any]) -> Result:
        """Return the value and the gradient of every leaf; gradients do not add up by themselves."""
        total, grads = 0.0, [0.0] * len(leaves)
        with self.guard():
            for item in work.items:
                loss = work.loss(self, leaves, item)
                loss.backward()
                total += self.number(loss)
                found = [leaf.grad for leaf in leaves]
                grads = [a + b for a, b in zip(grads, found, strict=True)] if len(work.items) > 1 else found
        return total, grads

    def hold(self, work: Workload, leaves: Sequence[Any]) -> Any:
        """Return what keeps the recorded graph of the first item alive."""
        with self.guard():
            return super().hold(work, leaves)


class MyGradUnguarded(MyGrad):
    """MyGrad without its memory guard."""

    name = "MyGrad, no guard"

    def load(self) -> None:
        """Import the library and bind what the workloads call."""
        super().load()
        self.guard = lambda: self.mygrad.mem_guard_off


class Torch(Contestant):
    """PyTorch eager on one thread, in float64 as the others."""

    name = "PyTorch"
    package = "torch"
    native = True

    def load(self) -> None:
        """Import the library and bind what the workloads call."""
        self.torch = import_module("torch")
        self.torch.set_num_threads(1)
        self.bind(self.torch, self.torch.relu)

    def leaf(self, value: Any) -> Any:
        """Return a tensor that wants a gradient; it shares the memory of an array."""
        if isinstance(value, np.ndarray):
            return self.torch.from_numpy(value).requires_grad_()
        return self.torch.tensor(value, dtype=self.torch.float64, requires_grad=True)

    def number(self, loss: Any) -> float:
        """Return the loss as a float."""
        return loss.item()


CONTESTANTS: tuple[type[Contestant], ...] = (
    Gradviz,
    GradvizPaused,
    Micrograd,
    Autograd,
    MyGrad,
    MyGradUnguarded,
    Torch,
)


def installed(names: Iterable[str] = ()) -> tuple[list[Contestant], list[str]]:
    """Return the contestants (all, or those named) that can run, and the names of those that cannot."""
    wanted = set(names)
    ready, missing = [], []
    for kind in CONTESTANTS:
        if wanted and kind.name not in wanted:
            continue
        try:
            ready.append(kind())
        except ImportError:
            missing.append(kind.name)
    return ready, missing


def versions(contestants: Iterable[Contestant]) -> dict[str, str]:
    """Return the version of every package that took part, NumPy's included."""
    packages = ["numpy", *(contestant.package for contestant in contestants)]
    return {package: version(package) for package in dict.fromkeys(packages)}
