"""``rmtaudit explain``: what a finding means, how it is tested, and what to do about it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from rmtaudit.names import display_name

if TYPE_CHECKING:
    from rmtaudit.finding_kind import FindingKind

_WIDTH = 96
_LONGEST = 4000


@click.command()
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Explain a finding by its CODE, as RA-FO-001; without one, list all."""
    from rmtaudit.report.catalogue import FINDINGS, finding_kind

    if code is None:
        for kind in kinds_with_plugins().values():
            click.echo(f"{display_name(kind.code)}  {display_name(kind.title)}")
        return
    known = code.strip().upper() in FINDINGS  # nothing of others is imported for our own codes
    kind = finding_kind(code) if known else finding_kind(code, kinds_with_plugins())
    click.echo(f"{display_name(kind.code)}: {display_name(kind.title)}\n")
    for heading, text in kind.sections():
        line = f"{heading}: {display_name(text, longest=_LONGEST)}"
        click.echo(textwrap.fill(line, _WIDTH, subsequent_indent="  "))


def kinds_with_plugins() -> Mapping[str, FindingKind]:
    """Return the catalogue with the kinds of installed plugins; those that cannot be loaded are named."""
    from rmtaudit.analyzers.registry import plugin_findings
    from rmtaudit.report.catalogue import catalogue

    problems: list[str] = []
    kinds = catalogue(plugin_findings(problems))
    for problem in problems:
        click.echo(f"rmtaudit: {display_name(problem, longest=_LONGEST)}", err=True)
    return kinds
