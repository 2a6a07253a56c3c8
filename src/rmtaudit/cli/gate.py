"""``rmtaudit gate``: a policy applied to checkpoints or saved reports; its exit code is the verdict."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmtaudit.cli.errors import FINE, placed, print_error
from rmtaudit.cli.gate_output import FORMATS, GateOutput, ModelFiles, parse_output, rendered, require_places
from rmtaudit.cli.help import Command
from rmtaudit.cli.output import OutputFile, output_file
from rmtaudit.errors import RmtauditError, UsageError

if TYPE_CHECKING:
    from rmtaudit.engine.gate.load import Policy
    from rmtaudit.engine.gate.run import Gate
    from rmtaudit.report.gate import GateDocument

EXPLAIN = "explain"
"""The word that stands in the place of a path and asks what a policy checks."""


@click.command(
    cls=Command,
    examples=[
        ("gate model.safetensors", "Stop a damaged model"),
        ("gate tuned/ --baseline base/", "Stop a fine-tune that lost what its base had learned"),
        ("gate report.json --policy policy.yaml --baseline baseline.json", "Judge a saved report"),
        ("gate model.gguf --baseline base/ --claim 'Q4_K_M of BASE'", "Check what a file is claimed to be"),
        ("gate --init model/ --out gate/", "Write a policy and a baseline from a known good model"),
        ("gate explain standard", "Describe what a policy checks"),
    ],
)
@click.argument("paths", metavar="CHECKPOINT|REPORT...", nargs=-1, required=True)
@click.option(
    "--policy",
    metavar="POLICY",
    default="standard",
    show_default=True,
    help="A policy file, or lenient, standard, strict, identical, same-weights.",
)
@click.option(
    "--baseline", metavar="CHECKPOINT|REPORT", help="Model or saved report to compare with.", default=None
)
@click.option("--claim", metavar="CLAIM", help="Also check this claim about the file and the baseline.")
@click.option("--init", is_flag=True, help="Write a policy and a baseline from a known good model.")
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="With --init: where policy.yaml and baseline.json go; new or empty.",
)
@click.option("--memory", metavar="SIZE", help="Budget for matrices in flight: 4GB, 50%, bytes.")
@click.option(
    "--threads", metavar="N", type=click.IntRange(min=1), help="Number of layers to process in parallel."
)
@click.option(
    "--format",
    "format_",
    metavar="FORMAT",
    type=click.Choice(FORMATS),
    help=f"Format of what goes to stdout: {', '.join(FORMATS)}.",
)
@click.option(
    "-o",
    "--output",
    metavar="[FORMAT=]FILE",
    multiple=True,
    help="Write the result to a file, in the format of its ending or in FORMAT. Repeatable.",
)
@click.option(
    "--to",
    type=click.Choice(["mlflow"]),
    help="Log the numbers, the verdict and the reports to the run of MLFLOW_RUN_ID, or a new one.",
)
@click.option(
    "--github/--no-github",
    default=None,
    help="Annotate the run of GitHub Actions and write the summary and the outputs of the step. "
    "The default where GITHUB_ACTIONS is true.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress; with -o, nothing on stdout either.")
def gate(
    paths: tuple[str, ...],
    policy: str,
    baseline: str | None,
    claim: str | None,
    init: bool,
    out: Path | None,
    memory: str | None,
    threads: int | None,
    format_: str | None,
    output: tuple[str, ...],
    to: str | None,
    github: bool | None,
    quiet: bool,
) -> int:
    """Apply a policy to models: exit code 0 passed, 1 failed, 3 inconclusive, 2 could not judge.

    Each CHECKPOINT is scanned; a REPORT that `rmtaudit scan -o report.json` wrote is judged without the
    weights. A rule that could not be evaluated is inconclusive, never passed. With several models, the worst
    exit code counts: 2 over 1 over 3 over 0. `rmtaudit gate explain POLICY` says what a policy checks.
    """
    from rmtaudit.engine.gate.load import load_policy
    from rmtaudit.engine.resources.memory_size import parse_memory

    if paths[0] == EXPLAIN:
        return _explain(paths[1:] or (policy,))
    budget = None if memory is None else parse_memory(memory)
    if init != (out is not None):
        raise UsageError(
            "RA-US-902",
            "--init and --out must be given together.",
            hint="rmtaudit gate --init MODEL --out DIR",
        )
    if out is not None:
        return _init(paths, out, quiet=quiet, threads=threads, memory=budget)
    outputs = [parse_output(text) for text in output]
    loaded = load_policy(policy)
    if claim is not None:
        if baseline is None:
            hint = "Add --baseline with the model that the claim calls the base."
            raise UsageError("RA-US-903", "--claim needs a baseline.", hint=hint)
        loaded = loaded.with_claim(claim)
    require_places(outputs)
    models = ModelFiles(paths, [format_ or "table", *(each.format for each in outputs)])
    inputs = [Path(path) for path in (*paths, *([] if baseline is None else [baseline]))]
    with ExitStack() as stack:
        files = [(each, stack.enter_context(output_file(each.path, inputs))) for each in outputs]
        run = _gate(loaded, baseline, threads=threads, memory=budget, quiet=quiet)
        document = run.run([Path(path) for path in paths])
        _write(run, models.digests(document), document, files, format_, quiet=quiet)
    _deliver(run, document, outputs, to=to, github=github, annotate=format_ != "github")
    return document.exit_code


def _gate(
    policy: Policy, baseline: str | None, *, threads: int | None, memory: int | None, quiet: bool
) -> Gate:
    from rmtaudit.engine.gate.run import Gate

    def failed(path: Path, error: RmtauditError) -> None:
        print_error(placed(error, path))

    return Gate(
        policy=policy,
        baseline=None if baseline is None else Path(baseline),
        day=datetime.datetime.now(datetime.UTC).date(),
        threads=threads,
        memory=memory,
        watch=lambda target: _watch(target, quiet=quiet),
        failed=failed,
    )


@contextmanager
def _watch(target: Any, *, quiet: bool) -> Iterator[Any]:
    from rmtaudit.cli.progress import watch

    path = Path(str(target))
    with watch(path.name or str(path), enabled=not quiet) as watcher:
        yield watcher


def _write(
    run: Gate,
    digests: Sequence[Mapping[str, str]],
    document: GateDocument,
    files: Sequence[tuple[GateOutput, OutputFile]],
    format_: str | None,
    *,
    quiet: bool,
) -> None:
    from rmtaudit.report.writers.gate import GateResult

    result = GateResult(document=document, results=run.reports, files=digests)
    for wanted, file in files:
        file.write(rendered(result, wanted.format))
    if files and quiet:
        return
    if format_ in (None, "table"):
        from rmtaudit.cli.console import stdout_console
        from rmtaudit.cli.gate_table import draw_gate

        draw_gate(stdout_console(), document)
    else:
        sys.stdout.write(rendered(result, format_ or ""))


def _deliver(
    run: Gate,
    document: GateDocument,
    outputs: Sequence[GateOutput],
    *,
    to: str | None,
    github: bool | None,
    annotate: bool,
) -> None:
    from rmtaudit.cli.github_actions import tell_github, under_github_actions

    if github or (github is None and under_github_actions()):
        saved = next((each.path for each in outputs if each.format == "json"), None)
        tell_github(document, saved, annotate=annotate)
    if to is not None:
        from rmtaudit.engine.gate.to_mlflow import log_to_mlflow

        click.echo(f"rmtaudit: logged to the MLflow run {log_to_mlflow(document, run.reports)}", err=True)


def _explain(policies: tuple[str, ...]) -> int:
    from rmtaudit.engine.gate.explain import explained_policy
    from rmtaudit.engine.gate.load import load_policy

    for name in policies:
        click.echo("\n".join(explained_policy(load_policy(name))))
    return FINE


def _init(paths: tuple[str, ...], out: Path, *, quiet: bool, threads: int | None, memory: int | None) -> int:
    from rmtaudit.engine.gate.init import write_gate

    if len(paths) != 1:
        raise UsageError("RA-US-904", "--init takes one model.", hint="rmtaudit gate --init MODEL --out DIR")
    path = Path(paths[0])
    try:
        with _watch(path, quiet=quiet) as watcher:
            written = write_gate(path, out, threads=threads, memory=memory, progress=watcher)
    except RmtauditError as error:
        raise placed(error, path) from error
    for line in written:
        click.echo(line)
    return FINE
