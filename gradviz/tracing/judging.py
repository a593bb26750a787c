"""The findings of many runs: of each by itself, and of the ranks of one across all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradviz.errors import UnknownNameError
from gradviz.rules import Finding, Rule, all_rules, check
from gradviz.rules.findings import SEVERITIES
from gradviz.tracing.acrossranks import Ranks, groups_of

if TYPE_CHECKING:
    from gradviz.tracing.many import Member

__all__ = ["findings_of", "rules_asked"]

Wanted = Iterable[str] | Mapping[str, Mapping[str, Any]] | None
Asked = dict[str, dict[str, Any]]


def findings_of(members: Sequence[Member], rules: Wanted = None) -> list[Finding]:
    """Judge runs by the rules of a single run, and those of several processes by the rules across ranks as well.

    What is found alike on several ranks of a run is one finding. The most serious comes first, of equal ones what is
    about the ranks.
    """
    across, alone = rules_asked(rules)
    found: list[Finding] = []
    for run, group in groups_of(members).items():
        if len(group) == 1 and group[0].name == run:
            found += [replace(one, run=run) for one in check(group[0].opened[:], alone)]
        else:
            found += _of_ranks(Ranks(run, group), across, alone)
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def rules_asked(rules: Wanted) -> tuple[Asked, Asked]:
    """Return the rules across ranks and those of a single run that are wanted, each with its thresholds.

    Raises UnknownNameError for a rule that is not there.
    """
    across, alone = all_rules("ranks"), all_rules()
    if rules is None:
        rules = [*across, *alone]
    named = [rules] if isinstance(rules, str) else rules
    wanted: Asked = {name: dict(named[name]) if isinstance(named, Mapping) else {} for name in named}
    for name in wanted:
        if name not in across and name not in alone:
            raise UnknownNameError.among("rule", name, [*across, *alone])
    return _only(wanted, across), _only(wanted, alone)


def _only(wanted: Asked, known: Mapping[str, Rule]) -> Asked:
    return {name: thresholds for name, thresholds in wanted.items() if name in known}


def _of_ranks(ranks: Ranks, across: Asked, alone: Asked) -> list[Finding]:
    """Judge the processes of one run."""
    known = all_rules("ranks")
    found = [one for name, thresholds in across.items() for one in known[name](ranks, **thresholds)]
    born = next((one for one in found if one.rule == "rank-nan"), None)
    own = ((rank, one) for rank in ranks.ranks for one in check(ranks.evidence(rank), alone))
    nothing = {rank: ranks.empty(rank) for rank in ranks.ranks}
    own = ((rank, one) for rank, one in own if one.node not in nothing[rank])
    told = _merged((rank, one) for rank, one in own if not _is_infected(rank, one, born))
    return [replace(one, run=ranks.name) for one in [*found, *told]]


def _is_infected(rank: int, one: Finding, born: Finding | None) -> bool:
    """Tell whether a NaN or infinity on one rank is only what another rank has sent it."""
    if born is None or born.step is None or rank in born.ranks or one.rule not in {"nan", "inf"}:
        return False
    return one.step is not None and one.step >= born.step


def _merged(found: Iterable[tuple[int, Finding]]) -> list[Finding]:
    """Return what was found on several ranks as one finding, with the words and numbers of the first of them."""
    merged: dict[tuple[Any, ...], Finding] = {}
    seen: Counter[tuple[Any, ...]] = Counter()
    for rank, one in found:
        place = one.rule, one.severity, one.node, one.step
        key = *place, seen[rank, place]  # a rule may have two things to say of one node
        seen[rank, place] += 1
        known = merged.get(key)
        merged[key] = replace(one, ranks=(rank,)) if known is None else replace(known, ranks=(*known.ranks, rank))
    return list(merged.values())
