"""What a gate is given: a saved report, or a checkpoint, which is scanned as the policy needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.gate.load import Policy
from rmtaudit.engine.gate.policy import LAYER_WORDS, MODEL_FACTS, PAIR_METRICS, Rule
from rmtaudit.report.model import Report, Result

if TYPE_CHECKING:
    from rmtaudit.checkpoints import Checkpoint
    from rmtaudit.engine.resources.progress import Progress
    from rmtaudit.engine.settings.scan import ScanSettings
    from rmtaudit.errors import UsageError

Watch = Callable[["Progress"], None] | None

_HEAD = 4096
_SCHEMA = b'"rmtaudit.'


def is_report(target: Any) -> bool:
    """Whether a target is a report, or a file that begins as a document of rmtaudit.

    Reading another document than a report says what it is, which opening it as a checkpoint would not.
    """
    if isinstance(target, Report):
        return True
    if not isinstance(target, (str, Path)):
        return False
    path = Path(target)
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return head.lstrip()[:1] == b"{" and _SCHEMA in head


def read_reports(target: Any) -> tuple[Result, ...]:
    """Return the reports of a file, or the report that was given."""
    if isinstance(target, Report):
        return (target,)
    from rmtaudit.report.files import load_reports

    return load_reports(target)


def scanned(checkpoint: Checkpoint, settings: ScanSettings, progress: Watch = None) -> Report:
    """Return the report of a checkpoint.

    Raises ``InputError`` where the file changed while it was read, and ``KeyboardInterrupt``.
    """
    from rmtaudit.engine.scan.run import scan_checkpoint
    from rmtaudit.errors import InputError

    report = scan_checkpoint(checkpoint, settings, progress=progress)
    if report.error is not None:
        stop = report.error
        raise InputError(stop.code, stop.message, hint=stop.hint, where=stop.where)
    if not report.complete:
        raise KeyboardInterrupt
    return report


def scan_settings(policy: Policy, *, threads: int | None = None, memory: int | None = None) -> ScanSettings:
    """Return how a checkpoint is scanned: the default preset, and the analyzers that the rules need besides.

    Configuration files and the environment are not read: what a gate says depends on the policy alone.

    Raises
    ------
    UsageError
        RA-PO-006: a rule names a metric that no analyzer has.
    """
    from rmtaudit.analyzers.registry import build_all, metric_catalogue
    from rmtaudit.engine.settings.presets import preset_settings, select_metrics

    default = preset_settings().settings.analyzers
    analyzers = [*default, *(name for name in _needed(policy, default) if name not in default)]
    resolved = preset_settings(analyzers=analyzers, threads=threads, memory=memory)
    return select_metrics(resolved, metric_catalogue(build_all(resolved.settings.analyzers)))


def require_metrics(policy: Policy, known: Collection[str]) -> None:
    """Raise ``UsageError`` (RA-PO-006) for a rule whose metric neither saved reports nor an analyzer has.

    Parameters
    ----------
    policy
        The policy.
    known
        Metrics of the reports. The analyzers are looked at only for one that is not among them.
    """
    words = {*known, *MODEL_FACTS, *LAYER_WORDS, *PAIR_METRICS}
    unknown = [rule for rule in policy.rules if rule.metric is not None and rule.metric not in words]
    if not unknown:
        return
    from rmtaudit.analyzers.registry import available

    others = _other_owners(available())
    for rule in unknown:
        if rule.metric not in others:
            raise _no_such_metric(
                rule, policy, dict.fromkeys([*MODEL_FACTS, *LAYER_WORDS, *PAIR_METRICS, *known, *others])
            )


def _no_such_metric(rule: Rule, policy: Policy, known: Iterable[str]) -> UsageError:
    from rmtaudit.engine.gate.policy_errors import unknown_word

    hint = "rmtaudit analyzers lists the metrics."
    return unknown_word("metric", rule.metric or "", known, policy.places.get(rule.id, ""), hint)


def _needed(policy: Policy, default: tuple[str, ...]) -> Iterator[str]:
    from rmtaudit.analyzers.registry import available, build_all, metric_catalogue
    from rmtaudit.engine.gate.findings import condition_of
    from rmtaudit.report.failing import analyzer_of

    owners = {name: facts["analyzer"] for name, facts in metric_catalogue(build_all(default)).items()}
    others: dict[str, str] | None = None
    for rule in policy.rules:
        if rule.finding is not None:
            yield from filter(None, (analyzer_of(code) for code in condition_of(rule)[0].codes))
        name = rule.metric
        if name is None or name in (*MODEL_FACTS, *LAYER_WORDS, *PAIR_METRICS) or name in owners:
            continue
        if others is None:
            others = _other_owners(tuple(each for each in available() if each not in default))
        if name not in others:
            known = [*MODEL_FACTS, *LAYER_WORDS, *PAIR_METRICS, *owners, *others]
            raise _no_such_metric(rule, policy, known)
        yield others[name]


def _other_owners(names: tuple[str, ...]) -> dict[str, str]:
    """Return the analyzer of each metric; an analyzer that cannot be loaded has none."""
    from rmtaudit.analyzers.registry import build, metric_catalogue
    from rmtaudit.errors import RmtauditError

    owners: dict[str, str] = {}
    for name in names:
        try:
            catalogue = metric_catalogue([build(name)])
        except RmtauditError:
            continue
        for metric in catalogue:
            owners.setdefault(metric, name)
    return owners
