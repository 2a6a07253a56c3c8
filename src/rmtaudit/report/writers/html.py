"""One self-contained page for people, in a browser or on paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rmtaudit.report.model import Result

if TYPE_CHECKING:
    from rmtaudit.report.plots.esd import EsdCollector


def write(
    results: Sequence[Result],
    *,
    top: int | None = None,
    esd: Sequence[EsdCollector | None] | None = None,
) -> str:
    """Return the page of the subjects of a run, as :func:`rmtaudit.report.page.scan.scan_page` has it."""
    from rmtaudit.report.page.scan import scan_page

    return scan_page(results, top=top, esd=esd)
