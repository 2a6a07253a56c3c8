"""The command line: one module a command, and one wrapper that owns the exit codes.

Importing this package imports neither torch nor numpy nor rich: ``rmtaudit --help`` answers at once.
"""

from __future__ import annotations

import click

from rmtaudit.cli.activations import activations
from rmtaudit.cli.analyzers import analyzers
from rmtaudit.cli.cache import cache
from rmtaudit.cli.card import card
from rmtaudit.cli.compare import compare
from rmtaudit.cli.config import config
from rmtaudit.cli.density import density
from rmtaudit.cli.doctor import doctor
from rmtaudit.cli.errors import leave, run
from rmtaudit.cli.explain import explain
from rmtaudit.cli.extract_lora import extract_lora
from rmtaudit.cli.forecast import forecast
from rmtaudit.cli.forecast_ridge import forecast_ridge
from rmtaudit.cli.gate import gate
from rmtaudit.cli.help import Group
from rmtaudit.cli.inspect import inspect
from rmtaudit.cli.kernel import kernel
from rmtaudit.cli.lineage import lineage
from rmtaudit.cli.logdet import logdet
from rmtaudit.cli.probe import probe
from rmtaudit.cli.rank import rank
from rmtaudit.cli.report import report
from rmtaudit.cli.scan import scan
from rmtaudit.cli.tails import tails
from rmtaudit.cli.whatif import whatif
from rmtaudit.cli.zoo import zoo


class _Commands(Group):
    """All commands. One may have a name of two words."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of two words, if there is one: ``forecast ridge`` beside ``forecast``."""
        both = " ".join(args[:2])
        if len(args) > 1 and both in self.commands:
            return both, self.commands[both], args[2:]
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(None, "-V", "--version", package_name="rmtaudit", message="%(prog)s %(version)s")
def cli() -> None:
    """Audit neural-network checkpoints from their weights alone, with random matrix theory.

    Results go to stdout; progress, hints and errors to stderr. Exit codes: 0 fine, 1 a gate or a condition
    of --fail-on failed, 2 could not judge (usage, unreadable input), 3 nothing to analyse or no answer,
    130 interrupted.
    """


cli.add_command(scan)
cli.add_command(compare)
cli.add_command(gate)
cli.add_command(inspect)
cli.add_command(lineage)
cli.add_command(rank)
cli.add_command(report)
cli.add_command(zoo)
cli.add_command(cache)
cli.add_command(card)
cli.add_command(tails)
cli.add_command(forecast)
cli.add_command(forecast_ridge, "forecast ridge")
cli.add_command(logdet)
cli.add_command(density)
cli.add_command(kernel)
cli.add_command(activations)
cli.add_command(probe)
cli.add_command(extract_lora)
cli.add_command(whatif)
cli.add_command(analyzers)
cli.add_command(config)
cli.add_command(explain)
cli.add_command(doctor)


def main() -> None:
    """Run the command line of this process and exit."""
    leave(run(cli))
