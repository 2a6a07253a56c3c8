"""Findings of a model: those of its layers, one a cause.

A dead channel shows in the convolution that makes it, in the depthwise one after it and in the next one's
inputs, and a habit of a training recipe in every layer. That is one thing to read, not fifty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from rmtaudit.finding_kind import SEVERITIES, FindingKind, Severity
from rmtaudit.report.catalogue import FINDINGS
from rmtaudit.report.model import Finding, LayerFinding, LayerResult

MOST_WARNINGS = 5
"""Warnings that a model has at most; what is left over shares the last of them."""

_NAMED = 3
_CAUSES = (
    ("RA-FO-005", "RA-FO-010", "RA-FO-013"),  # a dead unit: zeros or denormals, padding
    ("RA-FO-006", "RA-FO-014", "RA-NF-003"),  # a few giant entries
    ("RA-FO-002", "RA-FO-003"),  # stored in fewer bits
    ("RA-FO-011", "RA-NF-001"),  # never trained
)
"""Codes that are traces of one cause."""

_CAUSE_OF = {code: codes[0] for codes in _CAUSES for code in codes}


@dataclass(frozen=True, slots=True)
class _Group:
    severity: Severity
    members: tuple[tuple[LayerResult, Finding], ...]


def grouped_findings(
    layers: Sequence[LayerResult], kinds: Mapping[str, FindingKind] = FINDINGS
) -> tuple[Finding, ...]:
    """Return one finding for each cause and severity, the most severe first, of those in most layers first.

    ``kinds`` is the catalogue, from which titles are taken.

    Returns
    -------
    tuple of Finding
        ``code`` is the most frequent one of the group; ``evidence`` has all ``codes`` and the names of all
        ``layers``. At most five have the severity ``warning``: what is left over shares the last one.
    """
    members: dict[tuple[Severity, str], list[tuple[LayerResult, Finding]]] = {}
    for layer in layers:
        for finding in layer.findings:
            cause = _CAUSE_OF.get(finding.code, finding.code)
            members.setdefault((finding.severity, cause), []).append((layer, finding))
    groups = [_Group(severity, tuple(group)) for (severity, _), group in members.items()]
    groups.sort(key=lambda group: (-SEVERITIES.index(group.severity), -len(_names(group))))
    return tuple(_finding(group, kinds) for group in _at_most(groups, "warning", MOST_WARNINGS))


def listed_findings(layers: Iterable[LayerResult]) -> tuple[LayerFinding, ...]:
    """Return every finding of the layers with the name of its layer, the most severe first.

    ``evidence`` has also ``codes`` and ``layers``, of this finding alone, as that of a group has.
    """
    every = [
        LayerFinding(
            code=finding.code,
            severity=finding.severity,
            layer=layer.name,
            message=finding.message,
            evidence={**finding.evidence, "codes": [finding.code], "layers": [layer.name]},
        )
        for layer in layers
        for finding in layer.findings
    ]
    return tuple(sorted(every, key=lambda finding: -SEVERITIES.index(finding.severity)))


def _at_most(groups: Sequence[_Group], severity: Severity, most: int) -> list[_Group]:
    """Return the groups with no more than so many of a severity: the last one takes the rest."""
    loud = [group for group in groups if group.severity == severity]
    if len(loud) <= most:
        return list(groups)
    rest = loud[most - 1 :]
    merged = _Group(severity, tuple(member for group in rest for member in group.members))
    return [merged if group is rest[0] else group for group in groups if group not in rest[1:]]


def _finding(group: _Group, kinds: Mapping[str, FindingKind]) -> Finding:
    codes = _by_frequency(finding.code for _, finding in group.members)
    names = _names(group)
    first, finding = next(member for member in group.members if member[1].code == codes[0])
    evidence = {"codes": codes, "layers": names}
    if len(group.members) == 1:
        message = f"{first.name}: {finding.message}"
        return msgspec.structs.replace(finding, severity=group.severity, message=message, evidence=evidence)
    titles = ", ".join(kinds[code].title if code in kinds else code for code in codes)
    shown = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    where = f"in {len(names)} layers ({shown}{more})" if len(names) > 1 else f"in {shown}"
    example = f"{first.name}: {finding.message}" if len(names) > 1 else finding.message
    return Finding(
        code=codes[0], severity=group.severity, message=f"{titles} {where}. {example}", evidence=evidence
    )


def _by_frequency(codes: Iterable[str]) -> list[str]:
    counts: dict[str, int] = {}
    for code in codes:
        counts[code] = counts.get(code, 0) + 1
    return sorted(counts, key=lambda code: (-counts[code], code))


def _names(group: _Group) -> list[str]:
    return list(dict.fromkeys(layer.name for layer, _ in group.members))
