"""The table of docs/formats.md: what is seen of every checkpoint in a folder, and how long that takes.

    OMP_NUM_THREADS=1 python benchmarks/formats.py FOLDER [--write]

Every checkpoint is opened, and the values of every layer are read, quantised ones decoded; nothing is
computed of them. ``seen`` are the parameters of weights in layers, ``share`` is their share of the parameters
of all weights, and the time is that of the processor, without the start of the program. ``--write`` puts the
table between the marks in docs/formats.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.bundle import subjects_of
from rmtaudit.errors import RmtauditError
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.skips import label_of
from rmtaudit.names import display_name
from rmtaudit.report.numbers import human_count, percent

PAGE = Path(__file__).parents[1] / "docs" / "formats.md"
START, END = "<!-- table: benchmarks/formats.py -->", "<!-- end of the table -->"
NO_CHECKPOINTS = {".json", ".txt", ".md", ".py", ".yaml"}
HEAD = "| checkpoint | format | layers | seen | share | CPU s |\n|---|---|---:|---:|---:|---:|\n"


def subjects(folder: Path) -> Iterator[Path]:
    """Yield the checkpoints below a folder: files, and folders whose files belong together."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            names = [each.name for each in path.iterdir()]
            if any(name.endswith((".index.json", ".onnx.data")) for name in names):
                yield path
            else:
                yield from subjects(path)
        elif path.suffix not in NO_CHECKPOINTS:
            yield from subjects_of(path).paths


def line(path: Path, folder: Path) -> str:
    """Return the row of a checkpoint."""
    name = display_name(str(path.relative_to(folder)))
    started = time.process_time()
    try:
        with open_checkpoint(path) as checkpoint:
            plan = plan_layers(checkpoint.tensors, config=checkpoint.config)
            for tensor in dict.fromkeys(tensor for layer in plan.layers for tensor in layer.tensors):
                checkpoint.read(tensor)
    except RmtauditError as error:
        spent = time.process_time() - started
        return f"| {name} | refused: {display_name(error.message)} [{error.code}] | | | | {spent:.2f} |\n"
    spent = time.process_time() - started
    seen = sum(layer.parameters for layer in plan.layers)
    missed = sum(skip.spec.parameters for skip in plan.skipped if skip.weight and skip.counted)
    if plan.skipped and not seen:
        reasons = sorted({label_of(skip.skip.reason, skip.reason) for skip in plan.skipped if skip.weight})
        if reasons:
            words = f"{checkpoint.format}, not analysed: {'; '.join(reasons)}"
            return f"| {name} | {words} | 0 | 0 | 0 % | {spent:.2f} |\n"
    share = percent(seen / (seen + missed)) if seen + missed else "no weights"
    cells = (name, checkpoint.format, len(plan.layers), human_count(seen), share, f"{spent:.2f}")
    return f"| {' | '.join(map(str, cells))} |\n"


def main() -> None:
    """Print the table, or write it to the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help="put the table into docs/formats.md")
    options = parser.parse_args()
    import torch  # noqa: F401 - so that the first checkpoint does not pay for it

    table = HEAD + "".join(line(path, options.folder) for path in subjects(options.folder))
    if not options.write:
        print(table, end="")
        return
    before, start, rest = PAGE.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise SystemExit(f"{PAGE} lacks the marks of the table")
    PAGE.write_text(f"{before}{START}\n\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
