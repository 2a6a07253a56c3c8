"""The command line: one module a command, and one wrapper that owns the exit codes.

Importing this package imports no command, and neither torch nor numpy nor rich: ``rmtaudit --help`` answers
at once.
"""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import click

from rmtaudit.cli.commands import SUMMARIES, Commands
from rmtaudit.cli.errors import leave, run
from rmtaudit.cli.help import Group

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class _Commands(Group):
    """All commands, imported when they are invoked. One may have a name of two words."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of two words, if there is one: ``forecast ridge`` beside ``forecast``."""
        both = " ".join(args[:2])
        if len(args) > 1 and both in self.commands:
            return both, self.commands[both], args[2:]
        return super().resolve_command(ctx, args)

    def summary(self, name: str) -> str:
        """Return the line of a command in the list of commands, without importing the command."""
        return SUMMARIES[name] if name in SUMMARIES else super().summary(name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that start with ``incomplete``, without importing any command."""
        from click.shell_completion import CompletionItem

        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=self.summary(name)) for name in names]
        return commands + click.Command.shell_complete(self, ctx, incomplete)


@click.group(
    cls=_Commands,
    commands=Commands(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(None, "-V", "--version", package_name="rmtaudit", message="%(prog)s %(version)s")
def cli() -> None:
    """Audit neural-network checkpoints from their weights alone, with random matrix theory.

    Results go to stdout; progress, hints and errors to stderr. Exit codes: 0 fine, 1 a gate or a condition
    of --fail-on failed, 2 could not judge (usage, unreadable input), 3 nothing to analyse or no answer,
    130 interrupted.
    """


def main() -> None:
    """Run the command line of this process and exit."""
    # torch asks for huge pages then, which takes a quarter of the time for large matrices
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # importing torch makes 160,000 objects that stay, and the search for cycles among them takes a tenth of
    # the time; layers leave no cycles: without any search eight of 1536 x 1536 have no larger peak memory
    gc.set_threshold(50_000, 20, 100)
    leave(run(cli))
