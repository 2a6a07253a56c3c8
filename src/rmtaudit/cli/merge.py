"""``rmtaudit lineage TARGET --base B --parents P``: what a merge is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.cli.errors import FINE, INCONCLUSIVE, placed
from rmtaudit.errors import RmtauditError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from rmtaudit.checkpoints import Checkpoint
    from rmtaudit.cli.output import DocumentOutput


def explain(
    target: Path, base: Path | None, parents: Sequence[Path], out: DocumentOutput, *, memory: int | None
) -> int:
    """Write what a merge is made of. Exit code 3: the parents do not determine it."""
    from rmtaudit.checkpoints import open_checkpoint
    from rmtaudit.engine.merging import explain_merge

    if base is None or not parents:
        raise UsageError("RA-US-818", "A merge needs both --base and --parents.")
    with out.open([target, base, *parents]) as emit:
        with ExitStack() as stack:

            def opened(path: Path) -> Checkpoint:
                try:
                    return stack.enter_context(open_checkpoint(path))
                except RmtauditError as error:
                    raise placed(error, path) from error

            sources = [opened(path) for path in parents]
            answer = explain_merge(opened(target), opened(base), sources, memory=memory)
        emit(answer.document(), _draw)
    return INCONCLUSIVE if answer.verdict is None else FINE


def _draw(console: Console, document: Mapping[str, Any]) -> None:
    from rich.text import Text

    from rmtaudit.names import display_name

    console.print(Text(display_name(document["target"]), style="bold", overflow="fold"))
    console.print(Text(document["sentence"]))
    for parent in document["parents"]:
        coefficient = parent["coefficient"]
        if coefficient is not None:
            low, high = coefficient["ci"]
            numbers = f"{coefficient['value']:8.4f}  95 % [{low:.4f}, {high:.4f}]"
            console.print(
                Text(f"  {numbers}  p {coefficient['p_value']:.2g}  {display_name(parent['path'])}")
            )
    if document["r_squared"] is not None:
        console.print(
            Text(f"  R² {document['r_squared']:.4f} over {len(document['layers'])} layers", style="dim")
        )
