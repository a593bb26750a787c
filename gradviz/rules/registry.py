"""The rules, one decorated function each.

A function that takes the `Evidence` and yields a `Symptom` for everything it sees becomes a rule by
`rule`. Its keyword arguments are its thresholds. Every module of this package is looked into, so a new
rule is one function in one file. A rule ``of="ranks"`` is handed all processes of a run at once
(`gradviz.rules.ranks.Together`).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from gradviz.errors import GradvizValueError, suggestion
from gradviz.graphs import Node
from gradviz.rules.evidence import Evidence
from gradviz.rules.findings import SEVERITIES, Finding, Symptom

if TYPE_CHECKING:
    from gradviz.rules.ranks import Together

__all__ = ["Rule", "all_rules", "rule"]

MOST = 20  # findings of one rule; more are counted

Judge = Callable[..., Iterable[Symptom]]
RULES: dict[str, Rule] = {}
RANK_RULES: dict[str, Rule] = {}
BY_SUBJECT = {"run": RULES, "ranks": RANK_RULES}  # what a rule is handed


@dataclass(frozen=True, slots=True, repr=False)
class Rule:
    """One health rule: what it looks for, what helps, why its thresholds are what they are."""

    name: str
    severity: str
    summary: str
    advice: str
    because: str  # where the thresholds come from
    judge: Judge

    @property
    def thresholds(self) -> dict[str, Any]:
        """Its keyword arguments and their defaults."""
        given = inspect.signature(self.judge).parameters.values()
        return {p.name: p.default for p in given if p.kind is p.KEYWORD_ONLY}

    def __call__(self, seen: Evidence | Together, **thresholds: Any) -> list[Finding]:
        """Return what the rule finds; raises GradvizValueError for a threshold it does not have."""
        unknown = next((name for name in thresholds if name not in self.thresholds), None)
        if unknown is not None:
            raise GradvizValueError(
                f"the rule {self.name} has no threshold {str(unknown)[:80]!r}",
                hint=suggestion(str(unknown), self.thresholds) or "it has none",
            )
        symptoms = iter(self.judge(seen, **thresholds))
        found = [self._finding(symptom) for symptom in islice(symptoms, MOST)]
        more = sum(1 for _ in symptoms)
        if more:
            found[-1].numbers["more"] = more
        return found

    def _finding(self, symptom: Symptom) -> Finding:
        at = symptom.at
        return Finding(
            rule=self.name,
            severity=symptom.severity or self.severity,
            message=symptom.message,
            node=at.name if isinstance(at, Node) else at,
            step=symptom.step,
            last_step=symptom.last_step,
            source=at.source if isinstance(at, Node) else None,
            numbers=dict(symptom.numbers),
            advice=symptom.advice or self.advice,
            ranks=symptom.ranks,
        )

    def __repr__(self) -> str:
        return f"Rule({self.name}: {self.summary})"


def rule(
    name: str, *, severity: str, summary: str, advice: str, because: str, of: str = "run"
) -> Callable[[Judge], Rule]:
    """Make a rule of the decorated function.

    ``severity`` is the usual one, ``summary`` says what is looked for, ``advice`` what usually helps, and
    ``because`` where the thresholds come from. ``of`` says what it judges: one ``"run"`` (or frame), or the ``"ranks"``
    of a run of several processes. Raises GradvizValueError for a name that is taken.

    >>> @rule("long", severity="note", summary="a long run", advice="stop", because="")
    ... def long(seen, *, steps=100):
    ...     if len(seen) > steps:
    ...         yield Symptom(f"{len(seen)} steps")
    >>> long.thresholds, RULES.pop("long")
    ({'steps': 100}, Rule(long: a long run))
    """
    if name in RULES or name in RANK_RULES:
        raise GradvizValueError(f"a rule named {name!r} is registered already", hint="choose another name")
    if severity not in SEVERITIES:
        raise GradvizValueError(f"severity={severity!r}", hint=f"choose one of {', '.join(SEVERITIES)}")

    def decorate(judge: Judge) -> Rule:
        made = BY_SUBJECT[of][name] = Rule(name, severity, summary, advice, because, judge)
        return made

    return decorate


def all_rules(of: str = "run") -> dict[str, Rule]:
    """Return every rule that judges a run, or with ``of="ranks"`` several processes of one, by name.

    >>> {"nan", "vanishing", "cut"} <= set(all_rules()), "rank-diverges" in all_rules("ranks")
    (True, True)
    """
    package = __name__.rpartition(".")[0]
    for found in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{found.name}")
    return dict(BY_SUBJECT[of])
