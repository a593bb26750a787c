"""``gradviz check``: judge a run by the health rules, for people and for continuous integration."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gradviz.errors import UnknownNameError, UsageError
from gradviz.escape import clean
from gradviz.style.wording import format_number
from gradviz.verbs import Verb
from gradviz.verbs.output import console, say, write_json
from gradviz.verbs.ranks import has_ranks

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from gradviz.rules import Finding, Rule

__all__ = ["VERB"]

STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
NUMBERS_SHOWN = 6
INDENT = "    "


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "run_path", metavar="RUN", nargs="?", help="a run directory, or one with rank-000, rank-001, ..."
    )
    parser.add_argument("--rules", metavar="A,B", help="ask only these rules (default: all)")
    parser.add_argument(
        "--fail-on",
        metavar="A,B",
        help="rules that make the exit status 1, or the least severity that does (default: warning); none: always 0",
    )
    parser.add_argument("--json", action="store_true", help="the findings, or with --list the rules, as JSON")
    parser.add_argument("--list", action="store_true", help="say what rules there are, and what each does")


def run(given: Namespace) -> int:
    """Judge; return 1 if there is a finding that counts."""
    from gradviz.rules import all_rules

    is_several = given.run_path is not None and has_ranks(given.run_path)
    across = all_rules("ranks")
    known = {**across, **all_rules()} if is_several else all_rules()
    if given.list:
        return _list(known if given.json or is_several else {**known, **across}, as_json=given.json)
    if given.run_path is None:
        raise UsageError("no run to check", hint="gradviz check RUN, or gradviz check --list")
    names = _words(given.rules)
    fails = _fails(given.fail_on, known)
    judged = _several(given.run_path, names) if is_several else _single(given.run_path, names)
    failing = [finding for finding in judged.found if {finding.rule, finding.severity} & fails]
    if given.json:
        rules = list(known) if names is None else names
        findings = [finding.to_dict() for finding in judged.found]
        write_json({**judged.about, "ok": not failing, "rules": rules, "findings": findings})
    else:
        _print(judged)
    for note in judged.damage:
        say(f"gradviz: damaged: {note}")
    return 1 if failing else 0


@dataclass(frozen=True, slots=True)
class Judged:
    """What was judged, and what was found."""

    about: dict[str, Any]
    found: list[Finding]
    damage: list[str]


def _single(path: str, names: list[str] | None) -> Judged:
    from gradviz.rules import check
    from gradviz.tracing.reading import open_run

    opened = open_run(path)
    found = check(opened, names)
    return Judged({"run": str(opened.path), "steps": len(opened)}, found, opened.damage)


def _several(path: str, names: list[str] | None) -> Judged:
    """Judge the processes of a run, which are named after the folder that was given."""
    from gradviz.tracing.many import open_runs

    runs = open_runs(path)
    found = [replace(finding, run=None) for finding in runs.findings(names)]
    ranks = [member.rank for member in runs.members]
    return Judged({"run": path, "steps": max(map(len, runs)), "ranks": ranks}, found, runs.damage)


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _fails(text: str | None, known: dict[str, Rule]) -> set[str]:
    """Return the rules and severities that make the exit status 1; with a severity all that are worse."""
    words = _words(text)
    if words is None:
        return {"error", "warning"}
    for word in words:
        if word not in known and word not in {*STYLES, "none"}:
            raise UnknownNameError.among("rule or severity", word, [*known, *STYLES, "none"])
    worst_first = list(STYLES)
    least = max((worst_first.index(word) for word in words if word in STYLES), default=-1)
    return {*words, *worst_first[: least + 1]}


def _print(judged: Judged) -> None:
    from rich.padding import Padding
    from rich.text import Text

    out, found, about = console(), judged.found, judged.about
    for finding in found:
        out.print(_headline(finding))
        for line in _details(finding):
            out.print(Padding(line, (0, 0, 0, len(INDENT))))
        out.print()
    counts = [(sum(f.severity == severity for f in found), severity) for severity in STYLES]
    said = ", ".join(f"{count} {severity}{'s' * (count != 1)}" for count, severity in counts if count)
    ranks, steps = len(about.get("ranks", ())), about["steps"]
    of_ranks = f"{ranks} rank{'s' * (ranks != 1)}, " if ranks else ""
    told = f"{of_ranks}{steps} step{'s' * (steps != 1)}, {said or 'nothing found'}"
    out.print(Text(f"{clean(about['run'])}: {told}"), soft_wrap=True)


def _headline(finding: Finding) -> Text:
    from rich.text import Text

    return Text.assemble(
        (finding.severity, STYLES[finding.severity]), " ", (finding.rule, "bold"), f": {clean(finding.message, 600)}"
    )


def _details(finding: Finding) -> list[Text]:
    """Return where it is, the source line, the numbers and the advice, a line each."""
    from rich.text import Text

    lines = [("at", ", ".join(clean(place) for place in finding.places()))]
    if finding.source is not None and (finding.source.code or finding.source.text):
        lines.append(("line", clean(finding.source.code or finding.source.text)))
    lines.append(("numbers", _numbers(finding.numbers)))
    lines.append(("try", finding.advice))
    return [Text.assemble((f"{label}: ", "dim"), said) for label, said in lines if said]


def _numbers(numbers: dict[str, Any]) -> str:
    shown = [f"{clean(str(key), 60)} {_number(value)}" for key, value in numbers.items() if not isinstance(value, dict)]
    return ", ".join(shown[:NUMBERS_SHOWN])


def _number(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_number(item) for item in value[:8]) + (", ..." if len(value) > 8 else "") + "]"
    return clean(value) if isinstance(value, str) else "none" if value is None else format_number(value)


def _list(known: dict[str, Rule], *, as_json: bool) -> int:
    if as_json:
        write_json([_described(rule) for rule in known.values()])
    else:
        console().print(_table(known))
    return 0


def _described(rule: Rule) -> dict[str, Any]:
    names = ("name", "severity", "summary", "advice", "because", "thresholds")
    return {name: getattr(rule, name) for name in names}


def _table(known: dict[str, Rule]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("rule", "severity", "finds", "thresholds"):
        table.add_column(heading)
    for rule in known.values():
        limits = ", ".join(f"{name}={value:g}" for name, value in rule.thresholds.items())
        table.add_row(Text(rule.name), Text(rule.severity, STYLES[rule.severity]), Text(rule.summary), Text(limits))
    return table


VERB = Verb(
    name="check",
    summary="judge a run by the health rules: what is wrong, where, and what usually helps",
    examples=(
        "gradviz check runs/line",
        "gradviz check runs/line --fail-on nan,vanishing    1 only for these",
        "gradviz check runs/line --json | jq '.findings[].message'",
        "gradviz check runs/big                             the processes of a run, also against each other",
        "gradviz check --list                               the rules",
    ),
    arguments=arguments,
    run=run,
)
