"""How the result of a gate looks in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.cli.grid import label_grid
from rmtaudit.names import display_name
from rmtaudit.report.gate import Check, GateDocument, GateSubject
from rmtaudit.report.numbers import percent

_ORDER = ("failed", "inconclusive", "suppressed", "passed")
_STYLES = {
    "failed": "bold red",
    "unreadable": "bold red",
    "inconclusive": "yellow",
    "suppressed": "dim",
    "passed": "green",
}
_MOST_PASSED = 20
_LONGEST = 1000


def draw_gate(console: Console, document: GateDocument) -> None:
    """Print a verdict for every subject: its checks, those that failed first, and the verdict last."""
    for subject in document.subjects:
        _draw_subject(console, document, subject)
        console.print()
    expired = [each for each in document.suppressions if each.expired]
    for each in expired:
        text = f"The suppression of {each.rule} expired on {each.expires} and was not applied: {each.reason}"
        console.print(Text(display_name(text, longest=_LONGEST), style="yellow"))
    console.print(_verdict(document))


def _draw_subject(console: Console, document: GateDocument, subject: GateSubject) -> None:
    console.print(Text(display_name(subject.path, longest=_LONGEST), style="bold"))
    if subject.error is not None:
        text = f"{subject.error.message} [{subject.error.code}]"
        console.print(Text(display_name(text, longest=_LONGEST), style="red"))
        return
    policy = document.policy
    facts = [("policy", f"{display_name(policy.name)} {display_name(policy.version)}")]
    if document.baseline is not None:
        facts.append(("baseline", display_name(document.baseline.path, longest=_LONGEST)))
    if subject.coverage is not None:
        facts.append(("analysed", f"{percent(subject.coverage.fraction)} of all parameters"))
    if subject.left_out:
        names = ", ".join(each.rule for each in subject.left_out)
        facts.append(("left out", f"{names}: {subject.left_out[0].reason}"))
    console.print(label_grid(facts))
    ordered = sorted(subject.checks, key=lambda check: _ORDER.index(check.outcome))
    loud = [check for check in ordered if check.outcome != "passed"]
    passed = [check for check in ordered if check.outcome == "passed"]
    if ordered:
        console.print(_table([*loud, *passed[:_MOST_PASSED]]))
    if len(passed) > _MOST_PASSED:
        console.print(Text(f"… {len(passed) - _MOST_PASSED} more passed: --format json has all", style="dim"))


def _table(checks: Sequence[Check]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("check", no_wrap=True)
    table.add_column("rule", overflow="fold", max_width=32)
    table.add_column("result", overflow="fold", ratio=1)
    for check in checks:
        word = check.outcome
        if check.severity == "warning" and check.outcome in ("failed", "inconclusive"):
            word = f"{check.outcome} (warning)"  # type: ignore[assignment]
        name = check.rule if not check.target else f"{check.rule}: {check.target}"
        message = check.message if check.outcome != "failed" else f"{check.message} {check.why}"
        table.add_row(
            Text(word, style=_STYLES[check.outcome]),
            Text(display_name(name, longest=120)),
            Text(display_name(message, longest=_LONGEST)),
        )
    return table


def _verdict(document: GateDocument) -> Text:
    words = {
        "passed": "passed",
        "failed": "failed",
        "inconclusive": "inconclusive: a rule could not be evaluated",
        "unreadable": "could not be judged: a subject is unreadable",
    }
    count = len(document.subjects)
    of = "" if count == 1 else f" ({count} models)"
    style = _STYLES[document.outcome]
    return Text(f"Gate {words[document.outcome]}{of}. Exit code {document.exit_code}.", style=style)
