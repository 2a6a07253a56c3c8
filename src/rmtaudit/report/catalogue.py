"""The catalogue of findings: every code, what it means, how it is tested, and what to do about it.

The one source of ``rmtaudit explain``, of docs/findings.md, and of the severities.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from rmtaudit.errors import UsageError
from rmtaudit.finding_kind import FindingKind
from rmtaudit.names import display_name
from rmtaudit.report.catalogue_forensics import FORENSICS
from rmtaudit.report.catalogue_injuries import INJURIES
from rmtaudit.report.catalogue_models import MODELS
from rmtaudit.report.catalogue_noise import NOISE
from rmtaudit.report.catalogue_powerlaw import POWERLAW

_KINDS = sorted((*FORENSICS, *INJURIES, *MODELS, *NOISE, *POWERLAW), key=lambda kind: kind.code)
FINDINGS: Mapping[str, FindingKind] = MappingProxyType({kind.code: kind for kind in _KINDS})
"""Every kind of finding by its code, in the order of the codes."""


def catalogue(others: Iterable[FindingKind] = ()) -> Mapping[str, FindingKind]:
    """Return the catalogue with the kinds that plugins bring, in the order of the codes.

    Raises
    ------
    UsageError
        RA-US-111: two kinds have one code, of which one would be explained as the other.
    """
    merged = dict(FINDINGS)
    for kind in others:
        if merged.setdefault(kind.code, kind) != kind:
            raise UsageError(
                "RA-US-111",
                f"Two kinds of findings have the code {display_name(kind.code)}: "
                f"{display_name(merged[kind.code].title)!r} and {display_name(kind.title)!r}.",
                hint="Uninstall one of the plugins, or leave it out of RMTAUDIT_PLUGINS.",
            )
    return MappingProxyType(dict(sorted(merged.items())))


def finding_kind(code: str, kinds: Mapping[str, FindingKind] = FINDINGS) -> FindingKind:
    """Return what is known of a code, in a catalogue; upper or lower case.

    Raises
    ------
    UsageError
        If the catalogue has no such code; the hint names near ones.
    """
    kind = kinds.get(code.strip().upper())
    if kind is not None:
        return kind
    near = difflib.get_close_matches(code.upper(), kinds, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else "rmtaudit explain lists all codes."
    raise UsageError("RA-US-110", f"There is no finding {display_name(code)!r}.", hint=hint)
