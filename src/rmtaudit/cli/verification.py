"""``--verify``: its flag, and the exit code that it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from rmtaudit.cli.errors import FINE, INCONCLUSIVE
from rmtaudit.cli.help import Command
from rmtaudit.names import display_name

DEFAULT_LAYERS = 3
_SCALES = {"absolute": "", "relative": " relative", "floor": " of the floor"}


class VerifyingCommand(Command):
    """A command whose ``--verify`` takes a number or none: a file may follow."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give ``--verify`` its default where no number follows."""
        for index, word in enumerate(args):
            if word == "--":
                break
            if word == "--verify" and not "".join(args[index + 1 : index + 2]).isdecimal():
                args[index] = f"--verify={DEFAULT_LAYERS}"
        return super().parse_args(ctx, args)


def code_of_verification(document: Mapping[str, Any]) -> int:
    """Return 3 where a number deviates or nothing could be compared, and say so on stderr; else 0."""
    if document["outcome"] == "agrees":
        return FINE
    deviating = [each for each in document["checks"] if not each["agrees"]]
    for each in deviating:
        click.echo(
            f"rmtaudit: not verified: {each['quantity']} of {display_name(each['owner'])} deviates by "
            f"{deviation_text(each)}, more than {accuracy_text(each)} ({each['library']})",
            err=True,
        )
    if not deviating:
        click.echo(
            "rmtaudit: not verified: nothing could be compared; the result states the reasons", err=True
        )
    return INCONCLUSIVE


def deviation_text(each: Mapping[str, Any]) -> str:
    """Return the deviation of a check."""
    return "infinitely" if each["deviation"] is None else f"{each['deviation']:.1e}"


def accuracy_text(each: Mapping[str, Any]) -> str:
    """Return the stated accuracy of a check."""
    return f"{each['accuracy']:g}{_SCALES[each['scale']]}"
