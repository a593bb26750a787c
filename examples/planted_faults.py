"""Eleven faults planted in small trainings, and who names the line: gradviz, PyTorch anomaly mode, JAX debug_nans.

Every program below is written once, for all three libraries; the line that is to blame ends in `# born`.
gradviz records a run and is asked `blame`; PyTorch runs with torch.autograd.set_detect_anomaly, JAX with
jax_debug_nans, op by op, and what their errors and warnings name is taken from the traceback.

python examples/planted_faults.py [--out DIR]
(beside others with: pip install torch jax)
"""

import argparse
import contextlib
import importlib
import inspect
import io
import operator
import os
import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import gradviz
from gradviz import Tensor

X = np.linspace(-1.0, 1.0, 12).reshape(6, 2) + np.array([0.0, 0.5])
Y = np.array([1.0, 3.0, 2.0, 5.0, 4.0, 6.0])
MOVED = np.array([0.1, 0.2, 0.0, 0.3, 0.0, 0.2])
NAMED = re.compile(re.escape(Path(__file__).name) + r'", line (\d+)')
PEERS = ("PyTorch anomaly mode", "JAX debug_nans")


# -- the programs: the loss of one step, from the parameters p -----------------------------------------


def log_of_a_negative(xp, p):
    """Fit the rate of a Poisson process by a straight line; on the third step a rate is below 0."""
    rate = p["slope"] * xp.data(Y)
    return xp.mean(rate - xp.data(Y) * xp.log(rate))  # born


def overflow_then_inf_over_inf(xp, p):
    """Classify by a softmax written by hand, with inputs that nobody scaled."""
    scores = xp.data(1e3 * X) @ p["w"]
    raised = xp.exp(scores)  # born
    share = raised / xp.sum(raised)
    return xp.mean((share - 0.5) ** 2)


def zero_times_infinity(xp, p):
    """Keep points at a distance from where they were: two of them are there still."""
    apart = p["points"] - xp.data(X)
    distance = xp.sqrt(xp.sum(apart * apart, 1))  # born
    return xp.mean((distance - 1.0) ** 2)


def root_of_zero(xp, p):
    """Penalise the roots of weights, which makes them sparse, from a weight that is 0."""
    penalty = xp.sum(xp.sqrt(p["w"]))  # born
    return xp.mean((xp.data(X) @ p["w"] - xp.data(Y)) ** 2) + 0.01 * penalty


def where_hides_an_overflow(xp, p):
    """Choose the branch after both were computed: a softplus by hand."""
    scores = 400.0 * xp.data(X) @ p["w"]
    grown = xp.exp(scores)  # born
    soft = xp.where(scores > 30.0, scores, xp.log(1.0 + grown))
    return xp.mean(soft)


def where_hides_a_log_of_zero(xp, p):
    """Sum an entropy where a probability is 0."""
    share = p["w"] / xp.sum(p["w"])
    logs = xp.log(share)  # born
    return xp.sum(xp.where(share > 0.0, share * logs, xp.data(np.zeros(2))))


def twelve_sigmoids(xp, p):
    """Stack twelve layers of sigmoids."""
    h = xp.data(X) @ p["first"]
    for i in range(12):
        h = xp.sigmoid(h @ p[f"w{i}"])  # born
    return xp.mean((h - 0.5) ** 2)


def dead_relu(xp, p):
    """Start a hidden layer with a bias far below 0."""
    hidden = xp.relu(xp.data(X) @ p["w"] + p["b"])  # born
    return xp.mean((hidden @ p["v"] + p["c"] - xp.data(Y)) ** 2)


def detach_that_cuts(xp, p):
    """Compute features once and for all, and forget that they should learn."""
    features = xp.detach(xp.tanh(xp.data(X) @ p["w"]))  # born
    return xp.mean((features @ p["v"] - xp.data(Y)) ** 2)


def wrong_rule(xp, p):
    """Write an op of one's own, with 2 x**2 for the derivative of x**3."""
    cubes = xp.cube(xp.data(X) @ p["w"])  # born
    return xp.mean((cubes - xp.data(Y)) ** 2)


def born_in_one_iteration(xp, p):
    """Learn a scale: the first step ends at 0 exactly, the next makes it infinite, and then the loss is NaN."""
    width = xp.sqrt(p["scale"])  # born
    return 0.4375 * p["scale"] ** 2 + 0.25 * width


def of_ones(*names, shape=2):
    return {name: np.ones(shape) for name in names}


@dataclass(frozen=True)
class Fault:
    """A program, where its fault is born, and how it is trained."""

    program: Callable[..., Any]
    kind: str  # what blame is asked for
    op: str
    phase: str
    params: dict[str, Any]
    iteration: int = 0
    steps: int = 2
    lr: float = 0.1

    @property
    def name(self) -> str:
        """What it is called."""
        return self.program.__name__.replace("_", " ")

    @property
    def line(self) -> int:
        """The line that is to blame, by its mark."""
        lines, first = inspect.getsourcelines(self.program)
        return next(first + i for i, line in enumerate(lines) if line.rstrip().endswith("# born"))


FAULTS = [
    Fault(log_of_a_negative, "nan", "log", "forward", {"slope": 10.0}, iteration=2, steps=5, lr=1.75),
    Fault(overflow_then_inf_over_inf, "nan", "exp", "forward", of_ones("w")),
    Fault(zero_times_infinity, "nan", "sqrt", "backward", {"points": X + MOVED[:, None]}),
    Fault(root_of_zero, "inf", "sqrt", "backward", {"w": np.array([1.0, 0.0])}),
    Fault(where_hides_an_overflow, "nan", "exp", "forward", of_ones("w")),
    Fault(where_hides_a_log_of_zero, "nan", "log", "forward", {"w": np.array([1.0, 0.0])}),
    Fault(twelve_sigmoids, "vanish", "sigmoid", "backward",
          {"first": np.eye(2), **{f"w{i}": np.array([[0.5, -0.4], [0.3, 0.6]]) for i in range(12)}}),
    Fault(dead_relu, "zero", "relu", "backward",
          {**of_ones("w", shape=(2, 3)), "b": np.full(3, -9.0), "v": np.ones(3), "c": 0.0}),
    Fault(detach_that_cuts, "cut", "const", "forward", {"w": np.eye(2), "v": np.ones(2)}),
    Fault(wrong_rule, "wrong", "cube", "backward", of_ones("w"), lr=0.01),
    Fault(born_in_one_iteration, "inf", "sqrt", "backward", {"scale": 1.0}, iteration=1, steps=4, lr=1.0),
]  # fmt: skip


# -- gradviz -------------------------------------------------------------------------------------------


@gradviz.register_op(lambda g, y, x: g * 2 * x**2)
def cube(x):
    return x**3


OURS = SimpleNamespace(
    data=lambda array: Tensor(array, requires_grad=False), detach=operator.methodcaller("detach"), cube=cube,
    mean=np.mean, log=np.log, exp=np.exp, sum=np.sum, sqrt=np.sqrt, where=np.where, tanh=np.tanh,
    sigmoid=gradviz.sigmoid, relu=gradviz.relu,
)  # fmt: skip


def record(fault: Fault, path: Path) -> gradviz.Run:
    """Train with gradviz, and return the run."""
    p = {name: Tensor(value, name=name) for name, value in fault.params.items()}
    with np.errstate(all="ignore"), gradviz.trace(path, params=p) as log:
        for _ in range(fault.steps):
            for w in p.values():
                w.zero_grad()
            loss = fault.program(OURS, p)
            loss.backward()
            log.step(loss)
            for w in p.values():
                w.data = w.data if w.grad is None else w.data - fault.lr * w.grad
    return gradviz.open_run(path)


def judged(fault: Fault, birth: Any) -> str:
    """Compare what blame says with what is true."""
    if birth is None:
        return "silent"
    here = birth.source is not None and birth.source.line == fault.line
    told = (birth.op, birth.iteration, birth.phase, birth.kind)
    return "exact" if here and told == (fault.op, fault.iteration, fault.phase, fault.kind) else "late"


# -- beside others -------------------------------------------------------------------------------------


def torch_report(fault: Fault) -> str:
    """Train with PyTorch in anomaly mode until it complains, and judge what it names."""
    torch = importlib.import_module("torch")

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x**2

    xp = SimpleNamespace(
        data=torch.tensor, detach=operator.methodcaller("detach"), cube=Cube.apply,
        mean=torch.mean, log=torch.log, exp=torch.exp, sum=torch.sum, sqrt=torch.sqrt, where=torch.where,
        tanh=torch.tanh, sigmoid=torch.sigmoid, relu=torch.relu,
    )  # fmt: skip
    p = {name: torch.tensor(np.asarray(value), requires_grad=True) for name, value in fault.params.items()}
    with warnings.catch_warnings(record=True) as told, torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter("always")
        for step in range(fault.steps):
            try:
                fault.program(xp, p).backward()
            except RuntimeError as error:
                said = "".join(str(w.message) for w in told if "anomaly" not in str(w.message).lower()[:40])
                return verdict(fault, step, said + "".join(traceback.format_exception(error)))
            with torch.no_grad():
                for w in p.values():
                    w.sub_(0.0 if w.grad is None else fault.lr * w.grad)
                    w.grad = None
    return "silent"


def jax_report(fault: Fault) -> str:
    """Train with JAX and jax_debug_nans until it complains, and judge what it names."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    jax, jnp = importlib.import_module("jax"), importlib.import_module("jax.numpy")

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_debug_nans", True)
    rule = jax.custom_vjp(lambda x: x**3)
    rule.defvjp(lambda x: (x**3, x), lambda x, g: (g * 2 * x**2,))
    xp = SimpleNamespace(
        data=jnp.asarray, detach=jax.lax.stop_gradient, cube=rule,
        mean=jnp.mean, log=jnp.log, exp=jnp.exp, sum=jnp.sum, sqrt=jnp.sqrt, where=jnp.where, tanh=jnp.tanh,
        sigmoid=jax.nn.sigmoid, relu=lambda x: jnp.maximum(x, 0.0),
    )  # fmt: skip
    p = {name: jnp.asarray(value) for name, value in fault.params.items()}
    for step in range(fault.steps):
        try:
            grads = jax.grad(lambda p: fault.program(xp, p))(p)
            p = {name: value - fault.lr * grads[name] for name, value in p.items()}
        except FloatingPointError as error:
            return verdict(fault, step, "".join(traceback.format_exception(error)))
    return "silent"


def verdict(fault: Fault, step: int, said: str) -> str:
    """Return ``exact`` if the last line of the program that is named is the guilty one, in the right iteration."""
    lines, first = inspect.getsourcelines(fault.program)
    named = [int(line) for line in NAMED.findall(said)]
    inside = [line for line in named if first <= line < first + len(lines)]
    if "does not require grad" in said:
        return "error"
    if not inside:
        return "late"
    return "exact" if inside[-1] == fault.line and step == fault.iteration else "late"


def beside(report: Callable[[Fault], str], fault: Fault) -> str:
    """Ask another library, if it is installed."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return report(fault)
    except ImportError:
        return "not installed"


# -- all of it -----------------------------------------------------------------------------------------


def table(ours: dict[str, str]) -> Iterator[str]:
    """Yield the lines of the table: what each tool makes of each fault."""
    yield f"| fault | true | gradviz | {' | '.join(PEERS)} |"
    yield "| --- | --- | --- | --- | --- |"
    for fault in FAULTS:
        true = f"{fault.op}, {fault.phase}, iteration {fault.iteration}"
        others = " | ".join(beside(report, fault) for report in (torch_report, jax_report))
        yield f"| {fault.name} | {true} | {ours[fault.name]} | {others} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/planted_faults", help="where to write (default: out/planted_faults)")
    out = Path(parser.parse_args().out)
    out.mkdir(parents=True, exist_ok=True)

    ours = {}
    for fault in FAULTS:
        birth = gradviz.Debugger(record(fault, out / "runs" / fault.program.__name__)).blame()
        ours[fault.name] = judged(fault, birth)
        print(f"{fault.name}: {fault.program.__doc__}")
        print(f"  true: {fault.op}, {fault.phase}, iteration {fault.iteration}, line {fault.line}")
        print(f"  blame: {birth}\n".replace("\n", "\n  ").rstrip() + "\n")
    print("wrote", out / "runs")
    lines = "\n".join(table(ours))
    (out / "table.md").write_text(lines + "\n", "utf-8")
    print("wrote", out / "table.md")
    print(lines)
    return 0 if set(ours.values()) == {"exact"} else 1


if __name__ == "__main__":
    raise SystemExit(main())
