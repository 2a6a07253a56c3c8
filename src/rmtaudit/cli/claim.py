"""``rmtaudit compare --claim``: whether a candidate is what it is claimed to be."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from rmtaudit.cli.errors import FINE, GATE_FAILED, INCONCLUSIVE
from rmtaudit.cli.output import output_file

if TYPE_CHECKING:
    from rich.console import Console

    from rmtaudit.checkpoints import Checkpoint
    from rmtaudit.engine.claims import ClaimAnswer

_SHOWN = 10


def check(
    sides: tuple[Checkpoint, Checkpoint],
    claim: str,
    format_: str,
    *,
    output: Path | None,
    quiet: bool,
    memory: int | None = None,
    threads: int | None = None,
) -> int:
    """Write the answer to a claim about the second of two checkpoints, and return the exit code."""
    from rmtaudit.cli.table import drawn_text, stdout_console
    from rmtaudit.engine.claims import Answer, check_claim
    from rmtaudit.report.document import dumps

    with output_file(output, [Path(side.path) for side in sides]) if output else nullcontext() as file:
        answer = check_claim(*sides, claim, memory=memory, threads=threads)
        if format_ == "json":
            text = dumps(answer.document())
        elif format_ == "markdown":
            text = answer.to_markdown()
        else:
            text = drawn_text(lambda console: _draw(console, answer))
        if file is not None:
            file.write(text)
        if file is None and format_ != "table":
            sys.stdout.write(text)
        elif file is None or not quiet:
            _draw(stdout_console(), answer)
    return {Answer.CONSISTENT: FINE, Answer.INCONSISTENT: GATE_FAILED, Answer.UNDECIDED: INCONCLUSIVE}[
        answer.answer
    ]


def _draw(console: Console, answer: ClaimAnswer) -> None:
    from rmtaudit.engine.claims import Answer
    from rmtaudit.names import display_name

    console.print(Text(display_name(answer.candidate), style="bold", overflow="fold"))
    console.print(Text(f"claim: {display_name(answer.claim, longest=200)}", style="dim"))
    console.print(Text(answer.sentence))
    others = [tensor for tensor in answer.tensors if tensor.answer is not Answer.CONSISTENT]
    for tensor in others[:_SHOWN]:
        console.print(Text(f"  {display_name(tensor.name)}: {tensor.answer}: {tensor.reason}"))
    if len(others) > _SHOWN:
        console.print(Text(f"  … and {len(others) - _SHOWN} more: --format json has all", style="dim"))
