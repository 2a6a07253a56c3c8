"""``rmtaudit explain``: what a finding means, how it is tested, and what to do about it."""

from __future__ import annotations

import textwrap

import click

_WIDTH = 96


@click.command()
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Explain a finding by its CODE, as RA-FO-001; without one, list all."""
    from rmtaudit.report.catalogue import FINDINGS, finding_kind

    if code is None:
        for kind in FINDINGS.values():
            click.echo(f"{kind.code}  {kind.title}")
        return
    kind = finding_kind(code)
    click.echo(f"{kind.code}: {kind.title}\n")
    for heading, text in kind.sections():
        click.echo(textwrap.fill(f"{heading}: {text}", _WIDTH, subsequent_indent="  "))
