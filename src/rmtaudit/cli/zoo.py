"""``rmtaudit zoo``: audit many models."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmtaudit.cli.errors import COULD_NOT_JUDGE, FINE, INCONCLUSIVE, INTERRUPTED, worst
from rmtaudit.cli.flags import entries_of, settings_flags
from rmtaudit.cli.help import Command
from rmtaudit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rmtaudit.engine.settings.scan import ScanSettings
    from rmtaudit.engine.zoo.run import ZooProgress
    from rmtaudit.report.zoo import Zoo

_FIRST, _EVERY = 2.0, 10.0
"""Seconds to the first line of progress, and between two."""


@click.command(
    cls=Command,
    examples=[
        ("zoo models/ --out audit/", "Audit every model of a folder; run it again to resume"),
        ("zoo zoo.yaml --out audit/ --preset fast", "Audit the models of a manifest"),
        ("zoo models/ --out audit/ --scheduler tcp://head:8786", "Audit them on a cluster"),
    ],
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "--out",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help=(
        "Folder of the result: zoo.json and the store. Results that it already holds are not computed again."
    ),
)
@settings_flags
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Use the workers of a Dask scheduler, tcp://HOST:PORT, instead of processes of this machine.",
)
@click.option(
    "--worker-memory",
    metavar="SIZE",
    help="Memory limit at which a worker is stopped: 8GB.  [default: its share of the machine]",
)
@click.option(
    "--rehash", is_flag=True, help="Read every file again, even where it seems unchanged since the last run."
)
@click.option(
    "--pairs",
    metavar="N",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="Maximum number of pairs of models to test for a relation; 0 for none.",
)
@click.option(
    "--parquet",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write every metric of every layer as one Parquet table, for DuckDB and pandas.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print only errors: nothing on stdout and no progress.")
@click.option("--no-progress", is_flag=True, help="No progress on stderr.")
def zoo(
    paths: tuple[str, ...],
    folder: Path,
    scheduler: str | None,
    worker_memory: str | None,
    rehash: bool,
    pairs: int,
    parquet: Path | None,
    quiet: bool,
    no_progress: bool,
    **flags: Any,
) -> int:
    """Audit all models of folders, patterns or a manifest, on all CPUs or on a cluster.

    PATH is a folder with checkpoints at any depth, a checkpoint, a pattern in quotes, the cache of the
    Hugging Face Hub, or a manifest (.yaml) with the names, families and qualities of models. A model that
    cannot be audited is reported, and stops nothing. Run the same command again to resume: models whose
    files have not changed, and layers that were seen before, are not computed again.

    --threads is the number of workers, --memory the budget for the matrices of each.
    """
    from rmtaudit.engine.resources.memory_size import parse_memory
    from rmtaudit.engine.settings.presets import resolve_settings
    from rmtaudit.engine.zoo.cluster import ClusterOptions
    from rmtaudit.engine.zoo.document import DOCUMENT, audit_zoo

    if parquet is not None:
        from rmtaudit.engine.zoo.parquet import require_pyarrow

        require_pyarrow()
    resolved = resolve_settings(entries_of(flags))
    settings = _checked(resolved)
    try:
        memory = None if worker_memory is None else parse_memory(worker_memory)
    except ValueError as error:
        raise UsageError("RA-CF-006", f"--worker-memory must be {error}.", where="--worker-memory") from None
    cluster = ClusterOptions(
        scheduler=scheduler,
        workers=settings.threads,
        memory=memory,
        budget=settings.memory,
        device=settings.device,
    )
    result = audit_zoo(
        paths,
        folder,
        settings,
        cluster,
        rehash=rehash,
        pairs=pairs,
        progress=_shown(enabled=not (quiet or no_progress)),
    )
    if parquet is not None:
        from rmtaudit.engine.zoo.parquet import write_parquet

        write_parquet(result, folder, parquet)
    if not quiet:
        from rmtaudit.cli.table import stdout_console
        from rmtaudit.cli.zoo_table import draw_zoo

        draw_zoo(stdout_console(), result)
        click.echo(f"Written to {folder / DOCUMENT}")
    return _code(result)


def _code(result: Zoo) -> int:
    codes = {"ok": FINE, "inconclusive": INCONCLUSIVE, "failed": COULD_NOT_JUDGE}
    interrupted = [] if result.run.complete else [INTERRUPTED]
    return worst([codes[model.status] for model in result.models] + interrupted)


def _checked(resolved: Any) -> ScanSettings:
    from rmtaudit.analyzers.registry import build_all, metric_catalogue
    from rmtaudit.engine.settings.presets import select_metrics

    analyzers = build_all(resolved.settings.analyzers, resolved.settings.options)
    return select_metrics(resolved, metric_catalogue(analyzers))


def _shown(*, enabled: bool) -> Callable[[ZooProgress], None]:
    """Return what shows the progress on stderr, a line now and then."""
    next_at = time.monotonic() + _FIRST
    dashboard = False

    def watcher(step: ZooProgress) -> None:
        nonlocal next_at, dashboard
        if not enabled:
            return
        if step.dashboard and not dashboard:
            dashboard = True
            print(f"rmtaudit: dashboard of the workers: {step.dashboard}", file=sys.stderr, flush=True)
        if time.monotonic() < next_at:
            return
        next_at = time.monotonic() + _EVERY
        print(f"rmtaudit: {_line(step)}", file=sys.stderr, flush=True)

    return watcher


def _line(step: ZooProgress) -> str:
    """Return how far a run is: models and bytes, or the pairs of models that follow them."""
    from rmtaudit.engine.resources.memory_size import format_bytes

    if step.pairs_total:
        left = _left(step.seconds, step.pairs, step.pairs_total)
        return f"{step.pairs:,} of {step.pairs_total:,} pairs of models tested{left}"
    left = _left(step.seconds, step.bytes, step.bytes_total)
    return (
        f"{step.models:,} of {step.models_total:,} models, "
        f"{format_bytes(step.bytes)} of {format_bytes(step.bytes_total)}{left}"
    )


def _left(seconds: float, done: int, total: int) -> str:
    return f", about {_duration(seconds * (total - done) / done)} left" if done else ""


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
