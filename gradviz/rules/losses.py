"""The course of the loss: does it come down, does it run away, does it swing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradviz.graphs import Node
from gradviz.rules.evidence import Evidence
from gradviz.rules.findings import Symptom
from gradviz.rules.registry import rule
from gradviz.style.wording import format_number

__all__ = ["diverging", "not_decreasing", "oscillating"]

SHORTEST = 5  # losses, to say anything
WINDOW = 10  # a tenth of the run is its start, and its end
NOISES = 4.0  # a change of so many standard deviations is no noise
ROUNDING = 1e-12  # of the loss: smaller changes are rounding


def finite_start(loss: np.ndarray) -> np.ndarray:
    """Return the losses before the first NaN or infinity.

    >>> finite_start(np.array([3.0, 2.0, np.inf, 1.0])).tolist()
    [3.0, 2.0]
    """
    bad = np.flatnonzero(~np.isfinite(loss))
    return loss[: bad[0]] if len(bad) else loss


def ends(loss: np.ndarray) -> tuple[float, float]:
    """Return the level at the start (the first three) and at the end (the last tenth), as medians."""
    return float(np.median(loss[:3])), float(np.median(loss[-max(1, len(loss) // WINDOW) :]))


def noise(loss: np.ndarray) -> float:
    """Return how much the loss scatters from step to step: 1.4826 * the median of |difference| / sqrt(2).

    >>> noise(np.array([1.0, 1.0, 1.0, 5.0]))
    0.0
    """
    changes = np.abs(np.diff(loss))
    return float(1.4826 * np.median(changes) / np.sqrt(2)) if len(changes) else 0.0


@rule(
    "not-decreasing",
    severity="warning",
    summary="a loss that does not come down",
    advice="Try a learning rate 10 times larger and 10 times smaller; see that the optimizer holds the parameters and"
    " that zero_grad() is called; overfit ten samples first (Karpathy 2019, A Recipe for Training Neural Networks).",
    because="after SageMaker Debugger's rule LossNotDecreasing; 1 % over the whole run is next to nothing",
)
def not_decreasing(seen: Evidence, *, share: float = 0.01, steps: int = 10) -> Iterator[Symptom]:
    """Compare the end with the start, and the later half with the earlier."""
    loss = finite_start(seen.loss)
    if len(loss) < steps:
        return
    start, end = ends(loss)
    first_half, second_half = np.median(loss[: len(loss) // 2]), np.median(loss[len(loss) // 2 :])
    least = share * abs(start)
    later = loss[len(loss) // 2 :]
    if start == 0.0 or start - end >= max(least, 2 * noise(later)) or first_half - second_half >= least:
        return
    yield Symptom(
        f"the loss does not come down: {format_number(start)} at the start, {format_number(end)} at the end of"
        f" {len(loss)} steps",
        at=_result(seen), step=seen.step(0), last_step=seen.step(len(loss) - 1),
        numbers={"start": start, "end": end, "least": float(loss.min()), "steps": len(loss)},
    )  # fmt: skip


@rule(
    "diverging",
    severity="error",
    summary="a loss that grows beyond where it began, or climbs back most of the way it had come down",
    advice="Make the learning rate smaller (a third is a good first try), clip the gradient, or let the learning rate"
    " rise slowly at the start and fall at the end.",
    because="descent with a small enough step cannot raise the loss (Nocedal and Wright 2006, section 3.1); half of the"
    " way back is no noise",
)
def diverging(seen: Evidence, *, rise: float = 0.1, back: float = 0.5) -> Iterator[Symptom]:
    """Compare the end with the start and with the best level before."""
    loss = finite_start(seen.loss)
    if len(loss) < SHORTEST:
        return
    start, end = ends(loss)
    if len(loss) < len(seen.loss):  # it ended in NaN or infinity: what matters is where it went last
        end = float(loss[-1])
    scatter = NOISES * noise(loss[: max(3, len(loss) // 2)])
    levels = _levels(loss)
    best = int(levels.argmin())
    fall, climbed = start - float(levels[best]), end - float(levels[best])
    numbers = {"start": start, "best": float(levels[best]), "best step": seen.step(best), "end": end}
    at, last = _result(seen), seen.step(len(loss) - 1)
    if end > start + max(rise * abs(start), ROUNDING * abs(start)) + min(scatter, abs(start)):
        numbers["factor per step"] = factor = _factor(loss)
        steadily = f", by a factor of {format_number(factor)} per step at the end" if factor > 1.001 else ""
        message = f"the loss grows from {format_number(loss[0])} to {format_number(loss[-1])}{steadily}"
        yield Symptom(message, at=at, step=seen.step(best), last_step=last, numbers=numbers)
    elif climbed > back * fall and climbed > scatter and climbed > rise * abs(start) and fall > 0:
        message = (
            f"the loss climbs back: {format_number(float(levels[best]))} around step {seen.step(best)},"
            f" {format_number(end)} at the end"
        )
        yield Symptom(message, at=at, step=seen.step(best), last_step=last, numbers=numbers, severity="warning")


def _levels(loss: np.ndarray) -> np.ndarray:
    """Return the running median over a tenth of the run, as many numbers as there are losses."""
    width = max(1, len(loss) // WINDOW)
    windows = np.lib.stride_tricks.sliding_window_view(loss, width)
    every = max(1, len(windows) // 200)
    medians = np.median(windows[::every], axis=1)
    return np.repeat(medians, every)[: len(windows)]


def _factor(loss: np.ndarray) -> float:
    """Return by how much the loss is multiplied from step to step at the end."""
    last = loss[-max(3, len(loss) // WINDOW) :]
    with np.errstate(all="ignore"):
        return float(np.median(last[1:] / last[:-1])) if (last > 0).all() else float("nan")


@rule(
    "oscillating",
    severity="warning",
    summary="a loss or parameters that swing back and forth and get nowhere",
    advice="Make the learning rate smaller, or let it fall during the run; momentum above 0.9 swings too.",
    because="beyond half of the largest stable step every step of gradient descent overshoots the floor of the valley"
    " and the next one turns around (LeCun et al. 1998, section 5): the cosine between them is near -1",
)
def oscillating(
    seen: Evidence, *, cosine: float = -0.5, share: float = 0.6, swing: float = 0.05, steps: int = 10
) -> Iterator[Symptom]:
    """See whether in the last third the steps turn around, or the loss does, while nothing is gained."""
    loss = finite_start(seen.loss)
    if len(loss) < steps:
        return
    middle = len(loss) - len(loss) // 3
    later = loss[middle:]
    best, first = float(loss.min()), float(loss[0])
    gained = float(np.median(later[: len(later) // 2 + 1]) - np.median(later[len(later) // 2 :]))
    amplitude = float(np.quantile(later, 0.9) - np.quantile(later, 0.1))
    away = max(amplitude, float(np.median(later)) - best)
    if gained > 0.1 * away:
        return
    way = max(first - best, ROUNDING * abs(first))
    turning, zigzag = _turning(seen, middle, len(loss), cosine), _zigzag(later)
    wide = max(away, -gained) >= swing * way or (way < swing * abs(first) and _cycles(seen, middle))
    if (turning >= share and wide) or (zigzag >= share and amplitude >= swing * way):
        who = f"{turning:.0%} of the steps turn" if turning >= share else f"the loss at {zigzag:.0%} of the steps turns"
        yield Symptom(
            f"{who} around in the last third, and nothing is gained: the loss stays between"
            f" {format_number(later.min())} and {format_number(later.max())}",
            at=_result(seen), step=seen.step(middle), last_step=seen.step(len(loss) - 1),
            numbers={"turning steps": turning, "turns of the loss": zigzag, "amplitude": amplitude},
        )  # fmt: skip


def _turning(seen: Evidence, start: int, stop: int, cosine: float) -> float:
    """Return the share of the steps that the next one takes back."""
    moves = seen.moves
    turns = moves.turn[(moves.at >= start) & (moves.at < stop - 2) & np.isfinite(moves.turn)]
    return float(np.mean(turns < cosine)) if len(turns) >= 4 else 0.0


def _cycles(seen: Evidence, middle: int) -> bool:
    """Whether the steps go there and back again: each one twice as far as the lowest point."""
    moves = seen.moves
    over = moves.overshoot[(moves.at >= middle) & (np.sqrt(moves.length) > ROUNDING * seen.sizes(moves.at))]
    return len(over) > 0 and float(np.median(over)) > 1.99


def _zigzag(loss: np.ndarray) -> float:
    """Return in which share of the steps the loss turns from rising to falling or back: 2/3 for pure noise.

    Noise is told apart by its second differences: a swing that comes back repeats itself every two steps.
    """
    changes = np.diff(loss)
    if len(changes) < 4:
        return 0.0
    turns = float(np.mean(changes[1:] * changes[:-1] < 0))
    scale = float(np.median(np.abs(changes)))
    repeats = float(np.median(np.abs(loss[2:] - loss[:-2])))
    return turns if repeats < 0.5 * scale else 0.0


def _result(seen: Evidence) -> Node | None:
    graph = seen.graph
    return graph.nodes[graph.outputs[0]] if graph is not None and graph.outputs else None
