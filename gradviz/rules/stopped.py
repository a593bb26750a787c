"""Processes of one training that fell, ended early, or left no trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradviz.rules.findings import Symptom, told_ranks
from gradviz.rules.ranks import Ending, Together
from gradviz.rules.registry import rule

__all__ = ["dead_rank", "missing_rank", "uneven_steps"]

NETWORK = ("RuntimeError", "ConnectionError", "ConnectionResetError", "BrokenPipeError", "TimeoutError")
STOPPED = "KeyboardInterrupt"  # by the user, on all ranks


@rule(
    "rank-died",
    severity="error",
    summary="a rank whose trace stops while others went on, waited for it, or ended as they should",
    advice=(
        "Look into that rank's own output first (torchrun --log-dir, --redirects 3): killed for memory (dmesg), an"
        " exception, a lost machine. What the other ranks report afterwards is only the consequence."
    ),
    because="a trace that was closed says so in its last line; that of a killed process says nothing",
    of="ranks",
)
def dead_rank(seen: Together) -> Iterator[Symptom]:
    """Find the rank that fell first."""
    ends = seen.endings
    fallen = _first_to_fall(ends)
    others = [end for end in ends if end not in fallen]
    for end in fallen:
        told = "; ".join(str(other) for other in others[:4]) or "so did all others"
        more = f"; {len(others) - 4} more" if len(others) > 4 else ""
        how = {"cut": ", without a word", "error": ", the first to end"}.get(end.how, "")
        message = f"{end}{how}; {told}{more}"
        yield Symptom(message, step=end.last, numbers={"steps": end.steps}, ranks=(end.rank,))


def _first_to_fall(ends: Sequence[Ending]) -> list[Ending]:
    """Return those that fell by themselves; the others ended as they should or were taken along."""
    cut = [end for end in ends if end.how == "cut"]
    raised = [end for end in ends if end.how == "error" and end.error != STOPPED]
    own = [end for end in raised if not _is_lost(end)]
    if own:
        return [min(own, key=lambda end: end.time)]
    if len(cut) == len(ends):  # by a script without close(), or by whoever killed all of them
        least = min(end.steps for end in ends)
        return [end for end in cut if end.steps == least] if least < max(end.steps for end in ends) else []
    if cut:
        return cut
    return [min(raised, key=lambda end: end.time)] if raised and not _left(ends) else []


def _is_lost(end: Ending) -> bool:
    """Tell whether a rank ended by an error that the loss of another one causes."""
    return end.how == "error" and (end.error in NETWORK or "Dist" in end.error)


def _left(ends: Sequence[Ending]) -> list[Ending]:
    """Return the ranks that were closed when others, which then lost them, were about to go on."""
    lost = [end for end in ends if _is_lost(end)]
    closed = [end for end in ends if end.how == "closed"]
    return [end for end in closed if lost and end.steps <= min(other.steps for other in lost)]


@rule(
    "rank-steps",
    severity="warning",
    summary="ranks that ended as they should after fewer steps than others wanted to make",
    advice=(
        "Give every rank the same number of batches (DistributedSampler, drop_last=True), or train inside of"
        " torch.distributed.algorithms.join.Join: otherwise the longer ranks wait for ever, or train on alone."
    ),
    because="every reduction needs every rank; one step more on one of them is one without the others",
    of="ranks",
)
def uneven_steps(seen: Together) -> Iterator[Symptom]:
    """Find ranks with fewer or more steps."""
    ends = seen.endings
    if _left(ends) and not _first_to_fall(ends):
        lost = next(end for end in ends if _is_lost(end))
        ranks = tuple(end.rank for end in _left(ends))
        message = f"{_left(ends)[0]}, as it should; {lost}: it wanted to go on, and had lost the other"
        yield Symptom(message, step=_left(ends)[0].last, numbers={"steps": lost.steps}, severity="error", ranks=ranks)
    if any(end.how != "closed" for end in ends) or len({end.steps for end in ends}) < 2:
        return
    most, least = (pick(ends, key=lambda end: end.steps) for pick in (max, min))
    short = tuple(end.rank for end in ends if end.steps < most.steps)
    message = f"rank {least.rank} recorded {least.steps} steps, rank {most.rank} {most.steps}"
    yield Symptom(message, step=least.last, numbers={f"rank {end.rank}": end.steps for end in ends}, ranks=short)


@rule(
    "rank-missing",
    severity="warning",
    summary="a rank that left no trace, or one that is left over from another run",
    advice=(
        "Open the trace on every rank, with one path that all of them see. Before a run with fewer ranks into the same"
        " folder, move the old folder away."
    ),
    because="every rank writes how many there are",
    of="ranks",
)
def missing_rank(seen: Together) -> Iterator[Symptom]:
    """Find ranks that are not there, and ranks that do not belong there."""
    if seen.absent:
        is_meant = list(seen.ranks) == [0]  # only the first traces: a common habit
        message = f"of {seen.world_size} ranks, there is no trace that can be read of {told_ranks(seen.absent)}"
        yield Symptom(
            message,
            numbers={"ranks": len(seen.ranks), "of": seen.world_size},
            severity="note" if is_meant else "",
            ranks=tuple(seen.absent),
        )
    if seen.strangers:
        sizes = sorted(set(seen.strangers.values()))
        message = (
            f"{told_ranks(seen.strangers)} say{'s' * (len(seen.strangers) == 1)} there are"
            f" {' or '.join(map(str, sizes))} ranks, the others {seen.world_size}:"
            " left over from another run, and not compared"
        )
        yield Symptom(message, numbers={"of": sizes[0]}, ranks=tuple(seen.strangers))
