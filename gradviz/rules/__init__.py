"""Health rules: what is wrong with a training, where, by which numbers, and what usually helps.

``run.findings()`` and ``gradviz check RUN`` ask all of them; `check` also judges a single frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gradviz.errors import UnknownNameError
from gradviz.graphs import Frame
from gradviz.rules.evidence import Evidence, RunLike
from gradviz.rules.findings import SEVERITIES, Finding, Symptom
from gradviz.rules.registry import Rule, all_rules, rule

__all__ = ["Evidence", "Finding", "Rule", "Symptom", "all_rules", "check", "rule"]

Wanted = Iterable[str] | Mapping[str, Mapping[str, Any]] | None


def check(judged: RunLike | Frame | Evidence, rules: Wanted = None) -> list[Finding]:
    """Judge a run, or a single frame, by the health rules; the most serious finding comes first.

    ``rules`` are the names of those to ask (default: all), or a mapping of names to thresholds:
    ``{"vanishing": {"decades": 6}}``. Raises UnknownNameError for a rule that is not there.

    >>> import gradviz, numpy as np
    >>> x = gradviz.Tensor([-1.0, 2.0], name="x")
    >>> with np.errstate(invalid="ignore"):
    ...     loss = np.log(x).sum()
    ...     loss.backward()
    >>> for finding in check(gradviz.frame(loss)):
    ...     print(finding.rule, finding.node, finding.message)
    nan log_1 NaN is born in log_1: 1 of 2 elements; x is -1 there
    """
    known = all_rules()
    named: Mapping[str, Mapping[str, Any]]
    if rules is None:
        named = {name: {} for name in known}
    elif isinstance(rules, Mapping):
        named = rules
    else:
        named = {name: {} for name in ([rules] if isinstance(rules, str) else rules)}
    for name in named:
        if name not in known:
            raise UnknownNameError.among("rule", name, known)
    seen = judged if isinstance(judged, Evidence) else Evidence(judged)
    found = [finding for name, thresholds in named.items() for finding in known[name](seen, **thresholds)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
