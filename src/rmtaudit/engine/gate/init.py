"""A policy and a baseline from a known good model, as a person would keep them in a repository."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rmtaudit.engine.gate.estimates import Estimate, estimate_of
from rmtaudit.engine.gate.inputs import Watch, is_report, read_reports, scan_settings, scanned
from rmtaudit.engine.gate.load import CONFIDENCE, load_policy
from rmtaudit.errors import InputError, NothingAuditableError, OutputError
from rmtaudit.matrices.roles import role
from rmtaudit.names import display_name
from rmtaudit.report.layer import LayerResult
from rmtaudit.report.model import FailedSubject, Report
from rmtaudit.report.numbers import format_value

POLICY, BASELINE = "policy.yaml", "baseline.json"
"""The files that are written."""

_MOST_ROLES = 16
"""Roles from which layers are put together by their kind: more rules than this nobody reads."""

_LEAST = MappingProxyType({"alpha": 1.0})
"""Values that a metric never falls below: a power law with a smaller exponent has no finite integral."""

_FACTOR = 0.3
"""Room for log10 of a norm: a factor of 2. A lost or doubled scale has more, an epoch of training less."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Layers that share a rule: what they are, in a policy and as an identifier."""

    key: str
    text: str
    layers: tuple[LayerResult, ...]


def write_gate(
    target: Any,
    folder: Path,
    *,
    threads: int | None = None,
    memory: int | None = None,
    progress: Watch = None,
) -> list[str]:
    """Write a policy and a baseline report for a model, and return what to say about it.

    Parameters
    ----------
    target
        A checkpoint, or a saved report of it.
    folder
        Where ``policy.yaml`` and ``baseline.json`` go; neither may be there.
    threads, memory
        Of the scan.
    progress
        Told after every layer.

    Raises
    ------
    InputError
        The model cannot be read.
    NothingAuditableError
        RA-NA-001: it has no weight matrix that can be analysed.
    OutputError
        RA-OU-002, RA-OU-003: the files are there, or cannot be written.
    """
    for name in (POLICY, BASELINE):
        if (folder / name).exists():
            hint = "Choose another folder, or remove the file."
            raise OutputError("RA-OU-002", "The file exists already.", hint=hint, where=str(folder / name))
    report = _report(target, threads=threads, memory=memory, progress=progress)
    if not any(layer.status == "ok" for layer in report.layers):
        raise NothingAuditableError("RA-NA-001", "No weight matrix could be analysed.", where=str(target))
    text = policy_text(report)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / POLICY).write_text(text, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError("RA-OU-003", f"The file cannot be written: {reason}.", where=str(folder)) from error
    report.save(folder / BASELINE, detail="summary")
    rules = len(load_policy(folder / POLICY).rules)
    return [
        f"Wrote {display_name(str(folder / POLICY))} ({rules} rules) and "
        f"{display_name(str(folder / BASELINE))}.",
        f"Gate the next version: rmtaudit gate MODEL --policy {display_name(str(folder / POLICY))} "
        f"--baseline {display_name(str(folder / BASELINE))}",
    ]


def policy_text(report: Report) -> str:
    """Return a commented policy whose limits come from a report's own intervals."""
    return "\n".join(_lines(report)) + "\n"


def _report(target: Any, *, threads: int | None, memory: int | None, progress: Watch) -> Report:
    if is_report(target):
        results = read_reports(target)
        if len(results) == 1 and not isinstance(results[0], FailedSubject):
            return results[0]
        raise InputError("RA-RP-006", "A policy must be made from a single report.", where=str(target))
    from rmtaudit.engine.pairs.opening import opened

    settings = scan_settings(load_policy("standard"), threads=threads, memory=memory)
    with opened(target) as checkpoint:
        return scanned(checkpoint, settings, progress)


def _lines(report: Report) -> Iterator[str]:
    subject = report.subject
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(subject["path"]).stem).strip("-") or "model"
    analysed = sum(layer.status == "ok" for layer in report.layers)
    yield (f"# What later versions of {name[:60]} are checked against; `rmtaudit gate explain` describes it.")
    yield f"# Made from {analysed} layers of {display_name(subject['path'], longest=1000)}"
    yield f"# ({subject['digest'] or 'no digest'}), rmtaudit {report.tool['version']}."
    yield (
        "# Limits are the model's own values and intervals, widened by a margin. Widen a limit "
        "that stops a good"
    )
    yield "# model; remove a rule that means nothing for yours."
    yield "extends: standard  # no damage, nothing unseen, no new warnings, no signal lost"
    yield f"name: {json.dumps(name)}"
    yield 'version: "1"'
    known = sorted({f"{each.code} in {each.layer}" for each in report.findings if each.severity != "info"})
    if known:
        yield ("# The model itself has these findings, so later versions may have them in the same layers:")
        for text in known[:20]:
            yield f"#   {display_name(text, longest=1000)}"
        if len(known) > 20:
            yield f"#   and {len(known) - 20} more"
    rules = [line for group in _groups(report) for line in _rules(group)]
    if rules:
        yield "rules:"
        yield from rules
    yield ""
    yield "# An exception needs a reason and an end:"
    yield "# suppress:"
    yield "#   - rule: no-new-warnings"
    yield "#     layer: 'classifier.*'"
    yield "#     finding: RA-FO-004"
    yield "#     reason: the head is pruned on purpose"
    yield "#     expires: 2027-12-31"


def _groups(report: Report) -> list[_Group]:
    """Return the layers by role, or by kind where there are many roles."""
    layers = [layer for layer in report.layers if layer.status == "ok"]
    for key, of in (("role", lambda layer: role(layer.name)), ("kind", lambda layer: layer.kind)):
        groups: dict[str, list[LayerResult]] = {}
        for layer in layers:
            groups.setdefault(of(layer), []).append(layer)
        if len(groups) <= _MOST_ROLES or key == "kind":
            return [_Group(key, text, tuple(group)) for text, group in groups.items()]
    return []


def _rules(group: _Group) -> Iterator[str]:
    slug = re.sub(r"[^a-z0-9]+", "-", group.text.lower().replace("weight", "")).strip("-")[:60] or "layers"
    alphas = _estimates(group, "alpha")
    if alphas:
        room = max(each.high - each.low for each in alphas) / 2
        low = math.floor(100 * (min(each.low for each in alphas) - room)) / 100
        high = math.ceil(100 * (max(each.high for each in alphas) + room)) / 100
        yield from _rule(
            f"alpha-{slug}",
            "alpha beyond the model's own intervals by half the widest of them is not a random "
            "fluctuation of the fit.",
            group,
            metric="alpha",
            limits=(low, high),
            estimates=alphas,
        )
    norms = _estimates(group, "log10_spectral_norm")
    if norms:
        low = math.floor(100 * (min(each.value for each in norms) - _FACTOR)) / 100
        high = math.ceil(100 * (max(each.value for each in norms) + _FACTOR)) / 100
        yield from _rule(
            f"norm-{slug}",
            "Fine-tuning moves the largest singular value by less than a factor of 2; losing a "
            "scale factor changes it by more.",
            group,
            metric="log10_spectral_norm",
            limits=(low, high),
            estimates=norms,
        )


def _rule(
    identifier: str,
    why: str,
    group: _Group,
    *,
    metric: str,
    limits: tuple[float, float],
    estimates: Sequence[Estimate],
) -> Iterator[str]:
    values = sorted(each.value for each in estimates)
    count = len(values)
    span = format_value(values[0])
    if count > 1:
        span = f"{span} to {format_value(values[-1])}"
    yield f"  - id: {identifier}"
    yield f"    why: {json.dumps(why)}"
    pattern = group.text if group.key == "kind" else _escaped(group.text)
    yield f"    on: {{{group.key}: {json.dumps(pattern)}}}"
    yield f"    metric: {metric}  # {span} in {count} {'layer' if count == 1 else 'layers'}"
    least = _LEAST.get(metric)
    if least is not None and limits[0] <= least:
        yield f"    # No lower limit: no layer can miss {limits[0]}, as {metric} is always above {least}."
        yield f"    threshold: {limits[1]}"
        yield "    greater_is_better: false"
    else:
        yield f"    range: [{limits[0]}, {limits[1]}]"
    if count < len(group.layers):
        yield f"    missing: ignore  # {len(group.layers) - count} of them have no {metric}"


def _estimates(group: _Group, metric: str) -> list[Estimate]:
    results = [layer.metrics[metric] for layer in group.layers if metric in layer.metrics]
    estimates = [estimate_of(result, CONFIDENCE) for result in results if result.status == "ok"]
    return [each for each in estimates if each is not None]


def _escaped(text: str) -> str:
    """Return the pattern that fits a text alone."""
    return re.sub(r"([*?[])", r"[\1]", text)
