"""What a report says in words, the same in every format that people read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rmtaudit.kernels.signal import SignalWord
from rmtaudit.matrices.skips import label_of
from rmtaudit.names import display_name
from rmtaudit.report.catalogue import FINDINGS
from rmtaudit.report.columns import FINDING, NAME, NUMERIC, PROPERTIES
from rmtaudit.report.grouping import grouped_findings
from rmtaudit.report.model import Finding, MetricResult, Report
from rmtaudit.report.numbers import format_value, human_count, percent
from rmtaudit.report.overview import Overview
from rmtaudit.report.verdict import Integrity, Verdict

_METRICS_ONLY = (
    "These are metrics, not a verdict: a number shows how a layer compares with others and with "
    "the published range, not whether the model is good or bad. The presets default and audit "
    "give verdicts."
)
_JUDGED = (
    "A verdict rests on tests with stated false-alarm rates and on facts about the stored bytes; "
    "it does not measure how good a model is. Run rmtaudit explain CODE for the meaning of a "
    "finding."
)

_LONGEST = 600
_SEVERITIES = ("error", "warning", "info")
_IN_THE_TABLE = frozenset({"RA-NF-001", "RA-NF-002", "RA-NF-004", "RA-NF-005", "RA-PL-001"})
_INTEGRITIES = (Integrity.DAMAGED, Integrity.WARNING, Integrity.OK, Integrity.UNJUDGED)
_SIGNALS = (
    SignalWord.STRUCTURED,
    SignalWord.SCALES,
    SignalWord.NOISE_LIKE,
    SignalWord.INITIAL,
    SignalWord.TOO_SMALL,
    SignalWord.CONSTANT,
    SignalWord.UNJUDGED,
)


def not_claimed(report: Report) -> str:
    """Return what the report does not claim."""
    return _JUDGED if is_judged(report) else _METRICS_ONLY


def is_judged(report: Report) -> bool:
    """Whether a layer has a signal or a finding: what judges was run, and found something to say."""
    return any(layer.findings or layer.signal.word != SignalWord.UNJUDGED for layer in report.layers)


def integrity_line(report: Report) -> str:
    """Return the integrity of the model, and how many layers have which."""
    return _answer(report.integrity, [layer.integrity for layer in report.layers], _INTEGRITIES)


def signal_line(report: Report) -> str:
    """Return the signal of the model, and how many layers have which."""
    return _answer(report.signal, [layer.signal for layer in report.layers], _SIGNALS)


def _answer(model: Verdict, layers: Sequence[Verdict], known: Sequence[str]) -> str:
    counts = Counter(layer.word for layer in layers)
    words = (*known, *sorted(set(counts) - set(known)))  # other versions have other words
    parts = [f"{counts[word]} {display_name(word)}" for word in words if counts[word]]
    return f"{display_name(model.text)}: of {len(layers)} layers {', '.join(parts)}"


def title(report: Report) -> str:
    """Return the subject's path, printable."""
    path = report.subject["path"]
    return display_name(path, longest=max(len(path), 1))


def headline(report: Report) -> str:
    """Return the two words of the model: ``DAMAGED, structured``."""
    return f"{display_name(report.integrity.word).upper()}, {display_name(report.signal.word)}"


def left_out(view: Overview) -> list[str]:
    """Return which layers have no row: those with findings by their code, then the others."""
    lines = []
    for code, count in view.hidden.items():
        title = FINDINGS[code].title if code in FINDINGS else ""
        lines.append(f"{count} more with {display_name(code)}{f' ({title})' if title else ''}")
    if view.quiet:
        lines.append(f"{view.quiet} more without a warning or an error: --all shows all")
    elif lines:
        lines[-1] += ": --all shows all"
    return lines


def subject_facts(report: Report) -> str:
    """Return format, size and dtypes in one line."""
    dtypes = report.subject["dtypes"]
    facts = [
        display_name(report.subject["format"]),
        f"{report.coverage.tensors} tensors",
        f"{human_count(report.subject['parameters'])} parameters",
        ", ".join(display_name(name) for name in dtypes),
    ]
    return " · ".join(fact for fact in facts if fact)


def settings_line(report: Report) -> str:
    """Return what was run, in one line."""
    tool = report.tool
    return (
        f"rmtaudit {tool['version']} · preset {tool['preset']} · "
        f"{', '.join(tool['analyzers'])} · seed {tool['seed']} · {tool['device']}"
    )


def order_line(report: Report) -> str:
    """Return by what the rows are ordered."""
    sort = report.tool["sort"]
    better = report.metrics[sort].better if sort in report.metrics else None
    way = "lowest first" if better == "higher" else "highest first"
    if sort in report.metrics:
        order = f"{sort}, {way}"
    elif sort in NUMERIC:
        order = f"{sort}, largest first"
    else:
        order = sort if sort in PROPERTIES and sort not in (NAME, FINDING) else "name"
    if is_judged(report):
        order = f"failed, damaged, with a warning, noise-like or initial, then by {order}"
        return f"worst layers first: {order}" if better else f"layers in this order: {order}"
    return f"worst layers first: {order}" if better else f"layers by {order}"


def summary_line(report: Report) -> str:
    """Return the mean of the shown metrics over their layers, and how many rows failed or were skipped."""
    parts = []
    for name in _headline(report):
        entry = report.summary[name]
        if entry.value is not None:
            over = f"over {entry.n} layer{'s' * (entry.n != 1)}"
            parts.append(f"mean {name} {format_value(entry.value)} {over}")
    states = Counter(layer.status for layer in report.layers)
    parts.append(f"{states['failed']} failed")
    if states["skipped"]:
        parts.append(f"{states['skipped']} skipped")
    return " · ".join(parts)


def coverage_line(report: Report) -> str:
    """Return what share of the parameters was analysed, in how many layers."""
    coverage = report.coverage
    layers = sum(layer.status == "ok" for layer in report.layers)
    return (
        f"{percent(coverage.fraction)} of {human_count(coverage.parameters)} parameters "
        f"in {layers} layer{'s' * (layers != 1)}"
    )


def skipped_line(report: Report) -> str:
    """Return what was not analysed, grouped by reason, the most frequent first; ``""`` for nothing."""
    labels = Counter(label_of(item.skip, item.reason) for item in report.coverage.skipped)
    ranked = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
    return " · ".join(f"{count} {display_name(label)}" for label, count in ranked)


def without_spectrum(report: Report) -> list[tuple[str, str]]:
    """Return what was found in layers that have no spectrum, as ``(analyzer, text)`` for each layer.

    The rows are skipped, and the table has the columns of the others; a number stands here with its
    interval, under the metric's name without that of the analyzer. What is missing is listed with the reason.
    """
    owners: dict[str, list[str]] = {}
    for name, entry in report.metrics.items():
        owners.setdefault(entry.analyzer, []).append(name)
    lines = []
    for layer in report.layers:
        if layer.status != "skipped":
            continue
        for owner, names in owners.items():
            results = {name: layer.metrics[name] for name in names if name in layer.metrics}
            if any(result.value is not None for result in results.values()):
                short = {name.removeprefix(f"{owner}_"): result for name, result in results.items()}
                lines.append((owner, f"{display_name(layer.name)}: {_numbers(short)}"))
    return lines


def remarks(report: Report) -> list[str]:
    """Return the warnings: of the subject, and that the scan was stopped."""
    lines = [display_name(warning, longest=400) for warning in report.subject["warnings"]]
    if report.error is not None:
        lines.insert(0, f"stopped: {display_name(report.error.message, longest=400)}")
    elif not report.complete:
        lines.insert(0, "stopped before the end: layers that were not reached are listed as skipped")
    return lines


def findings(report: Report) -> list[tuple[str, str]]:
    """Return severity and text of what was found in the model, one a cause, errors first: ``text [codes]``.

    What the words of a layer say already is left out.
    """
    entries = list(report.causes or grouped_findings(report.layers))
    entries.sort(key=lambda finding: _SEVERITIES.index(finding.severity))
    return [
        (finding.severity, f"{display_name(finding.message, longest=400)} [{_codes(finding)}]")
        for finding in entries
        if finding.severity != "info" or finding.code not in _IN_THE_TABLE
    ]


def findings_for_information(report: Report) -> int:
    """Return how many findings of the layers are for information, before they are grouped."""
    return sum(finding.severity == "info" for layer in report.layers for finding in layer.findings)


def _codes(finding: Finding) -> str:
    return ", ".join(display_name(str(code)) for code in finding.evidence.get("codes", (finding.code,)))


def _numbers(results: Mapping[str, MetricResult]) -> str:
    parts = []
    missing: dict[str, list[str]] = {}
    for name, result in results.items():
        if result.value is None:
            missing.setdefault(result.reason, []).append(name)
            continue
        text = f"{name} {format_value(result.value)}"
        if result.ci is not None:
            text += f" [{format_value(result.ci[0])}, {format_value(result.ci[1])}]"
        parts.append(text)
    parts += [f"no {', '.join(names)} ({reason})" for reason, names in missing.items()]
    return display_name(" · ".join(parts), longest=_LONGEST)


def _headline(report: Report) -> list[str]:
    sort = report.tool["sort"]
    names = [sort, *(name for name in report.tool["columns"] if name != sort)]
    return [name for name in names if name in report.summary][:2]
