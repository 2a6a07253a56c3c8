"""One self-contained page for people."""

from __future__ import annotations

from rmtaudit.report.writers.gate import GateResult


def write(result: GateResult) -> str:
    """Return the page of the result, as :func:`rmtaudit.report.page.gate.gate_page` has it."""
    from rmtaudit.report.page.gate import gate_page

    return gate_page(result.document)
