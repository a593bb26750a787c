"""The size of the steps: too large for the curvature, too large or too small for the parameters, none at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradviz.escape import clean
from gradviz.graphs import Node
from gradviz.rules.evidence import Evidence
from gradviz.rules.findings import Symptom
from gradviz.rules.histories import Track
from gradviz.rules.losses import ROUNDING, ends, finite_start
from gradviz.rules.registry import rule
from gradviz.style.wording import format_number

__all__ = ["large_step", "unchanged", "update_ratio"]

NEAR = 1e6  # times the first loss: where it has run away farther the curvature is that of another place
LATELY = 10  # steps, or a tenth of the run
PLAIN = 1e-3  # how far a step may be from -lr * gradient to be called gradient descent


@rule(
    "large-step",
    severity="error",
    summary="a learning rate beyond the largest stable one, 2/curvature, with a loss that grows or swings for it",
    advice="Make the learning rate smaller than the largest stable one that is named here, by half at least.",
    because="on a quadratic gradient descent converges if and only if lr < 2/lambda_max (LeCun et al. 1998, section 5;"
    " Goh 2017). The curvature s·y/s·s along a step s, y being the change of the gradient (Barzilai and Borwein"
    " 1988), is at most lambda_max, so a step that it calls too large is. Networks may live at the limit while"
    " the loss falls (Cohen et al. 2021): that is not found",
)
def large_step(seen: Evidence, *, limit: float = 2.0, share: float = 0.3, steps: int = 3) -> Iterator[Symptom]:
    """Find steps that went beyond twice the way to the lowest point, if the loss was the worse for it."""
    loss, moves = finite_start(seen.loss), seen.moves
    inside = moves.at < len(loss) - 1
    over = moves.overshoot[inside]
    at = moves.at[inside]
    known = np.isfinite(over) & (np.sqrt(moves.length[inside]) > ROUNDING * seen.sizes(at))
    if known.sum() < steps:
        return
    rose = loss[at + 1] >= loss[at] * (1 - 1e-9)
    beyond = known & (over >= limit * (1 - 1e-9)) & rose
    halves = np.array_split(beyond, 2)
    if beyond.sum() < steps or max(half.mean() for half in halves) < share or not _no_gain(seen, loss):
        return
    first, last = (seen.step(at[np.flatnonzero(beyond)[i]]) for i in (0, -1))
    chosen = np.flatnonzero(inside)[beyond]
    said, numbers = _largest_stable(seen, _typical(seen, chosen), limit)
    numbers = {"steps": int(beyond.sum()), **numbers}
    yield Symptom(
        f"the step is too large: {int(beyond.sum())} of {int(known.sum())} steps went twice as far as the lowest"
        f" point in their direction, or farther, and the loss rose{said}",
        at=_most_moved(seen, at[beyond]), step=first, last_step=last, numbers=numbers,
    )  # fmt: skip


def _typical(seen: Evidence, chosen: np.ndarray) -> np.ndarray:
    """Leave out the steps far from where the run began, unless the curvature is everywhere the same."""
    curvature = seen.moves.curvature[chosen]
    near = seen.loss[seen.moves.at[chosen]] <= NEAR * abs(seen.loss[0])
    return chosen if curvature.max() < 2 * curvature.min() or not near.any() else chosen[near]


def _no_gain(seen: Evidence, loss: np.ndarray) -> bool:
    """Whether the later half of the run, or all of one that ended in NaN, did not bring the loss down."""
    if len(loss) < len(seen.loss):
        return True
    later = loss[len(loss) // 2 :]
    start, end = ends(later) if len(later) >= 3 else (float(later[0]), float(later[-1]))
    return end >= 0.99 * start if start > 0 else end >= start


def _largest_stable(seen: Evidence, beyond: np.ndarray, limit: float) -> tuple[str, dict[str, Any]]:
    """Say what curvature these steps show, and which learning rate it allows."""
    moves = seen.moves
    curvature = float(np.quantile(moves.curvature[beyond], 0.9))
    numbers = {"overshoot": float(np.median(moves.overshoot[beyond])), "curvature": curvature}
    if not _plain(seen, beyond):
        return "", numbers
    rate = float(np.median(moves.length[beyond] / -moves.slope[beyond]))  # s = -lr*g, so s·s / -s·g is the rate
    largest = limit / curvature
    said = (
        f". On a quadratic of this curvature, {format_number(curvature)}, only learning rates below 2/curvature ="
        f" {format_number(largest)} are stable; it was {format_number(rate)}"
    )
    return said, numbers | {"lr": rate, "largest stable lr": largest}


def _plain(seen: Evidence, beyond: np.ndarray) -> bool:
    """Whether these steps are plain gradient descent, -lr * gradient with one lr for all parameters."""
    squares = np.zeros(len(beyond))
    positions = seen.moves.at[beyond]
    for track in seen.tracks.values():
        where = np.searchsorted(track.at, positions)
        inside = where < len(track.at)
        if not inside.all() or (track.at[where] != positions).any():
            return False
        grads = np.where(track.reached[where], track.grad_norm[where], 0.0)
        squares += np.square(grads)
    length, slope = seen.moves.length[beyond], seen.moves.slope[beyond]
    with np.errstate(all="ignore"):
        cosine = -slope / np.sqrt(length * squares)
    return bool((cosine > 1 - PLAIN).all())


def _most_moved(seen: Evidence, positions: np.ndarray) -> Node | str | None:
    """Return the parameter that went farthest in these steps."""
    far = {name: float(np.nanmax(np.where(np.isin(t.at, positions), t.moved, -1.0), initial=-1.0))
           for name, t in seen.tracks.items()}  # fmt: skip
    name = max(far, key=lambda key: far[key], default=None)
    return _node(seen, name) if name is not None else None


def _node(seen: Evidence, name: str) -> Node | str:
    return seen.graph[name] if seen.graph is not None and name in seen.graph else name


# -- update / parameter ----------------------------------------------------------------------------------


@rule(
    "update-ratio",
    severity="warning",
    summary="updates far from a thousandth of the parameter they change",
    advice="If it is large make the learning rate smaller, if it is small make it larger; one that is right for one"
    " parameter and wrong for another calls for better scaling, normalisation, or Adam.",
    because="Karpathy, CS231n, and Zeiler 2013: |update| / |parameter| should be about 1e-3. Here a hundred times more,"
    " and a hundred thousand times less where the loss has not come down either",
)
def update_ratio(seen: Evidence, *, large: float = 0.1, small: float = 1e-8, steps: int = 20) -> Iterator[Symptom]:
    """Find parameters whose usual update is too large, or whose largest is too small."""
    loss = finite_start(seen.loss)
    if len(loss) < steps:
        return
    start, end = ends(loss)
    idle = start - end < 0.01 * abs(start)
    for track in _weights(seen):
        ratios = _ratios(seen, track)
        if len(ratios) < steps // 2:
            continue
        usual, most = float(np.median(ratios)), float(ratios.max())
        if usual > large:
            said = f"an update usually changes {clean(track.name, 80)} by {usual:.0%} of its size"
        elif idle and 0 < most < small:
            said = f"no update changes {clean(track.name, 80)} by more than {format_number(most)} of its size"
        else:
            continue
        yield Symptom(
            said, at=_node(seen, track.name), step=seen.step(track.at[0]), last_step=seen.step(track.at[-1]),
            numbers={"usual ratio": usual, "largest ratio": most, "good": 1e-3},
        )  # fmt: skip


def _weights(seen: Evidence) -> list[Track]:
    """Return the matrices, or all parameters if there are none: a bias beside a weight is small and may move far."""
    matrices = {n.name for n in seen.graph.nodes if n.kind == "param" and len(n.shape) > 1} if seen.graph else set()
    tracks = list(seen.tracks.values())
    return [track for track in tracks if track.name in matrices] or tracks


def _ratios(seen: Evidence, track: Track) -> np.ndarray:
    """Return |update| / |parameter| at every step; from the learning rate where only norms were recorded.

    The parameter's size is the largest of the last steps: one that passes through 0 is not small.
    """
    moved = track.moved
    plain_descent = seen.optimizer in {"", "SGD"}
    if not np.isfinite(moved).any() and plain_descent:
        rates = np.array([seen.rate(int(position)) or np.nan for position in track.at])
        moved = rates * track.grad_norm
    known = np.nan_to_num(track.norm, nan=0.0, posinf=0.0)
    width = min(max(LATELY, len(known) // LATELY), len(known))
    padded = np.concatenate([np.zeros(width - 1), known])
    size = np.lib.stride_tricks.sliding_window_view(padded, width).max(axis=1)
    with np.errstate(all="ignore"):
        ratios = np.where(track.reached & (size > 0), moved / size, np.nan)
    later = ratios[len(ratios) // 10 :]
    found: np.ndarray = later[np.isfinite(later)]
    return found


# -- unchanged -------------------------------------------------------------------------------------------


@rule(
    "unchanged",
    severity="error",
    summary="a parameter that has a gradient and never changes",
    advice="Hand it to the optimizer, call optimizer.step(), and change the Tensor itself (w.data -= lr * w.grad), not"
    " a copy; see that the learning rate is not 0, nor so small that the update is lost to rounding.",
    because="the value is the same, bit for bit, in every step that was read; an update below the machine precision"
    " times the value is lost (Higham 2002)",
)
def unchanged(seen: Evidence, *, steps: int = 3) -> Iterator[Symptom]:
    """Find parameters that are the same at every step."""
    if len(seen) < steps:
        return
    for track in seen.tracks.values():
        norm = track.norm[np.isfinite(track.norm)]
        if len(norm) < steps or not _is_same(seen, track) or _moves(seen, track):
            continue
        if not (track.reached & (track.grad_norm > 0)).any():
            continue  # nothing was to change: that is for other rules
        grad = float(np.nanmax(np.where(track.reached, track.grad_norm, 0.0)))
        lr = seen.rate(0)
        lost = lr is not None and 0 < lr * grad < 1e-7 * norm[0]
        why = "; the update is too small for its precision" if lost else ""
        yield Symptom(
            f"{clean(track.name, 80)} never changes in {len(seen)} steps, though it has a gradient of up to"
            f" {format_number(grad)}{why}",
            at=_node(seen, track.name), step=seen.step(0), last_step=seen.step(-1),
            numbers={"norm": float(norm[0]), "largest gradient": grad} | ({"lr": lr} if lr is not None else {}),
        )  # fmt: skip


def _is_same(seen: Evidence, track: Track) -> bool:
    """Whether the norm is always the same; those of steps that were kept whole are computed in another way."""
    known = np.isfinite(track.norm)
    whole = np.isin(track.at, seen.whole) if seen.whole is not None else np.ones(len(known), bool)
    groups = [norm for norm in (track.norm[known & whole], track.norm[known & ~whole]) if len(norm)]
    return all((norm == norm[0]).all() for norm in groups) and bool(np.allclose([g[0] for g in groups], groups[0][0]))


def _moves(seen: Evidence, track: Track) -> bool:
    """Whether a parameter whose norm stays the same moves: by its values, or where only those are there its digests."""
    if np.isfinite(track.moved).any():
        return bool(np.nanmax(track.moved) > 0)
    digests = seen.run.column(track.name, "digest")
    return len(np.unique(np.ma.compressed(digests))) > 1
