"""The catalogue of findings: every code, what it means, how it is tested, and what to do about it.

The one source of ``rmtaudit explain``, of docs/findings.md, and of the severities.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from rmtaudit.errors import UsageError
from rmtaudit.names import display_name
from rmtaudit.report.catalogue_forensics import FORENSICS
from rmtaudit.report.catalogue_models import MODELS
from rmtaudit.report.catalogue_noise import NOISE
from rmtaudit.report.catalogue_powerlaw import POWERLAW
from rmtaudit.report.finding_kind import FindingKind

_KINDS = sorted((*FORENSICS, *MODELS, *NOISE, *POWERLAW), key=lambda kind: kind.code)
FINDINGS: Mapping[str, FindingKind] = MappingProxyType({kind.code: kind for kind in _KINDS})
"""Every kind of finding by its code, in the order of the codes."""


def finding_kind(code: str) -> FindingKind:
    """Return what is known of a code; upper or lower case.

    Raises
    ------
    UsageError
        If the catalogue has no such code; the hint names near ones.
    """
    found = FINDINGS.get(code.strip().upper())
    if found is not None:
        return found
    near = difflib.get_close_matches(code.upper(), FINDINGS, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else "rmtaudit explain lists all codes."
    raise UsageError("RA-US-110", f"There is no finding {display_name(code)!r}.", hint=hint)
