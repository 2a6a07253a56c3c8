"""A gate carried out: every subject read or scanned, compared with the baseline, and judged."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.gate.apply import apply_policy, left_out
from rmtaudit.engine.gate.checks import Exceptions
from rmtaudit.engine.gate.inputs import (
    Watch,
    is_report,
    read_reports,
    require_metrics,
    scan_settings,
    scanned,
)
from rmtaudit.engine.gate.load import Policy
from rmtaudit.engine.gate.subject import Candidate, ClaimResult
from rmtaudit.engine.gate.summary import coverage_of, metrics_of
from rmtaudit.engine.gate.words import title_of
from rmtaudit.errors import InputError, NothingAuditableError, RmtauditError, UsageError
from rmtaudit.report.gate import (
    EXIT_CODES,
    GATE_HEADER,
    GateBaseline,
    GateDocument,
    GateError,
    GatePolicy,
    GateSubject,
    GateTool,
    LeftOut,
    outcome_of,
    worst_outcome,
)
from rmtaudit.report.model import FailedSubject, Report, Result, failed_subject
from rmtaudit.version import installed_version

if TYPE_CHECKING:
    from rmtaudit.checkpoints import Checkpoint
    from rmtaudit.engine.claims import ClaimAnswer
    from rmtaudit.engine.settings.scan import ScanSettings
    from rmtaudit.report.comparison import Comparison

Watcher = Callable[[Any], Any]


@contextmanager
def _unwatched(_: Any) -> Iterator[Watch]:
    yield None


@dataclass(slots=True, kw_only=True)
class Gate:
    """A gate under way.

    Attributes
    ----------
    policy
        What is applied.
    baseline
        A report, or a checkpoint: a path, an object, a state dict; ``None``: none.
    day
        With which expiries are compared.
    threads, memory
        Of scans and comparisons; ``None``: as those have it.
    watch
        Returns a context manager of what is told of the progress of a scan.
    failed
        Told of a subject that cannot be read.
    reports
        After the run: what was judged, in the order of the subjects.
    """

    policy: Policy
    baseline: Any = None
    day: datetime.date
    threads: int | None = None
    memory: int | None = None
    watch: Watcher = _unwatched
    failed: Callable[[Any, RmtauditError], None] = lambda *_: None
    reports: list[Result] = field(default_factory=list, init=False)
    _exceptions: Exceptions = field(init=False)
    _base_report: Report | None = field(default=None, init=False)
    _base: Checkpoint | None = field(default=None, init=False)
    _settings: ScanSettings | None = field(default=None, init=False)
    _stack: ExitStack = field(default_factory=ExitStack, init=False)

    def run(self, targets: Sequence[Any]) -> GateDocument:
        """Return the document of all subjects.

        Raises
        ------
        UsageError
            The policy asks for something that does not exist, or for a claim without a checkpoint.
        InputError
            The baseline cannot be read.
        """
        self._exceptions = Exceptions(self.policy.suppress, self.day)
        with self._stack:
            self._open_baseline()
            subjects = [subject for target in targets for subject in self._subjects(target)]
            return self._document(subjects)

    def _open_baseline(self) -> None:
        if self.baseline is None:
            return
        if is_report(self.baseline):
            results = read_reports(self.baseline)
            report = results[0]
            if len(results) != 1 or isinstance(report, FailedSubject):
                raise InputError(
                    "RA-RP-006",
                    "A baseline must be a single report of a model that could be scanned.",
                    hint="Save it with: rmtaudit scan MODEL -o baseline.json",
                    where=str(self.baseline),
                )
            self._base_report = report
            return
        self._base = self._opened(self.baseline, self._stack)
        if any(rule.needs == "baseline" for rule in self.policy.rules):
            self._base_report = self._scan(self._base, self.baseline)

    def _subjects(self, target: Any) -> Iterator[GateSubject]:
        try:
            if is_report(target):
                for result in read_reports(target):
                    if isinstance(result, FailedSubject):
                        error = result.error
                        problem = InputError(
                            error.code, error.message, hint=error.hint, where=result.subject.path
                        )
                        yield self._unreadable(target, result.subject.path, problem)
                    else:
                        path = None if isinstance(target, Report) else str(target)
                        yield self._judged(self._candidate(result), path)
            else:
                with ExitStack() as stack:
                    checkpoint = self._opened(target, stack)
                    report = self._scan(checkpoint, target)
                    candidate = self._candidate(report, checkpoint)
                yield self._judged(candidate, None)
        except UsageError:
            raise
        except RmtauditError as error:
            yield self._unreadable(target, str(target), error)

    def _unreadable(self, target: Any, path: str, error: RmtauditError) -> GateSubject:
        self.failed(target, error)
        self.reports.append(failed_subject(path, error.code, error.message, error.hint))
        return unreadable(path, error)

    def _opened(self, target: Any, stack: ExitStack) -> Checkpoint:
        from rmtaudit.checkpoints import Checkpoint
        from rmtaudit.engine.pairs.opening import opened

        checkpoint = opened(target)
        return checkpoint if isinstance(target, Checkpoint) else stack.enter_context(checkpoint)

    def _scan(self, checkpoint: Checkpoint, target: Any) -> Report:
        if self._settings is None:
            self._settings = scan_settings(self.policy, threads=self.threads, memory=self.memory)
        with self.watch(target) as watcher:
            return scanned(checkpoint, self._settings, watcher)

    def _candidate(self, report: Report, checkpoint: Checkpoint | None = None) -> Candidate:
        comparison, claims = None, {}
        if checkpoint is not None and self._base is not None:
            if any(rule.needs == "weights" and rule.claim is None for rule in self.policy.rules):
                comparison = self._compared(self._base, checkpoint)
            for rule in self.policy.rules:
                if rule.claim is not None:
                    claims[rule.claim] = self._claimed(rule.claim, rule.id, self._base, checkpoint)
        return Candidate(
            report=report,
            baseline=self._base_report,
            comparison=comparison,
            claims=claims,
            has_baseline=self.baseline is not None,
            has_weights=checkpoint is not None and self._base is not None,
        )

    def _compared(self, base: Checkpoint, candidate: Checkpoint) -> Comparison:
        from rmtaudit.engine.compare.run import compare_checkpoints
        from rmtaudit.engine.compare.settings import CompareSettings

        settings = CompareSettings(metrics=False, threads=self.threads, memory=self.memory)
        return compare_checkpoints(base, candidate, settings)

    def _claimed(self, claim: str, rule: str, base: Checkpoint, candidate: Checkpoint) -> ClaimResult:
        from rmtaudit.engine.claims import Answer, check_claim

        try:
            answer = check_claim(base, candidate, claim)
        except NothingAuditableError as error:
            return ClaimResult(answer="undecided", reason=error.message)
        except UsageError as error:
            error.where = error.where or self.policy.places.get(rule, "")
            raise
        word = {
            Answer.CONSISTENT: "consistent",
            Answer.INCONSISTENT: "inconsistent",
            Answer.UNDECIDED: "undecided",
        }[answer.answer]
        return ClaimResult(
            answer=word,  # type: ignore[arg-type]
            reason=_claim_reason(answer),
            looked_at=len(answer.tensors),
            tensors=tuple(
                (each.name, each.reason)
                for each in answer.tensors
                if each.name and each.answer is answer.answer and each.answer is not Answer.CONSISTENT
            ),
        )

    def _judged(self, candidate: Candidate, path: str | None) -> GateSubject:
        report = candidate.report
        baseline = () if candidate.baseline is None else candidate.baseline.metrics
        require_metrics(self.policy, {*report.metrics, *baseline})
        self.reports.append(report)
        checks = apply_policy(self.policy, candidate, self._exceptions)
        return GateSubject(
            path=report.subject["path"],
            report=path,
            format=report.subject["format"],
            digest=report.subject["digest"],
            parameters=report.subject["parameters"],
            coverage=coverage_of(report),
            outcome=outcome_of(checks),
            error=None,
            checks=checks,
            metrics=metrics_of(report),
            left_out=tuple(
                LeftOut(rule=rule.id, title=title_of(rule), reason=_NEEDS[rule.only_with])
                for rule in self.policy.rules
                if rule.only_with is not None and left_out(rule, candidate)
            ),
        )

    def _document(self, subjects: Sequence[GateSubject]) -> GateDocument:
        outcome = worst_outcome(subject.outcome for subject in subjects)
        policy = self.policy
        return GateDocument(
            schema=GATE_HEADER,
            tool=GateTool(version=installed_version()),
            policy=GatePolicy(
                name=policy.name, version=policy.version, sha256=policy.sha256, sources=policy.sources
            ),
            baseline=self._shown_baseline(),
            day=self.day.isoformat() if policy.suppress else None,
            subjects=tuple(subjects),
            outcome=outcome,
            exit_code=EXIT_CODES[outcome],
            suppressions=self._exceptions.listed(),
        )

    def _shown_baseline(self) -> GateBaseline | None:
        if self._base_report is not None:
            subject = self._base_report.subject
            return GateBaseline(path=subject["path"], digest=subject["digest"], format=subject["format"])
        if self._base is None:
            return None
        return GateBaseline(path=str(self._base.path), digest=None, format=self._base.format)


def _claim_reason(answer: ClaimAnswer) -> str:
    """Return what is known of the whole: how an adapter was applied, or the coefficients of a merge."""
    if answer.word:
        return f"the adapter is {answer.word}"
    return next((each.reason for each in answer.tensors if not each.name), "")


_NEEDS = {
    "baseline": "It applies only to gates with a baseline.",
    "weights": "It needs the weights of both: give the candidate and the baseline as checkpoints.",
}


def unreadable(path: str, error: RmtauditError) -> GateSubject:
    """Return the subject that could not be read."""
    return GateSubject(
        path=path,
        report=None,
        format="",
        digest=None,
        parameters=0,
        coverage=None,
        outcome="unreadable",
        error=GateError(code=error.code, message=error.message, hint=error.hint),
        checks=(),
        metrics={},
    )
