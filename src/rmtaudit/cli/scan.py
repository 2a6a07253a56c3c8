"""``rmtaudit scan``: analyse every weight matrix of checkpoints."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rmtaudit.cli.errors import (
    INTERRUPTED,
    code_of,
    internal_error,
    note,
    placed,
    print_error,
    worst,
)
from rmtaudit.cli.failing import code_of_findings, code_of_report, condition_of, fail_on_option
from rmtaudit.cli.flags import entries_of, settings_flags
from rmtaudit.cli.github_actions import annotate_findings
from rmtaudit.cli.output import (
    ALL_FORMATS,
    OutputFile,
    format_for,
    json_detail_option,
    output_file,
    output_options,
    require_json,
    rows_options,
)
from rmtaudit.cli.rendering import collector_for, finish_plots, inspector, plot_folders, rendered
from rmtaudit.cli.verification import VerifyingCommand, code_of_verification
from rmtaudit.errors import ChangedError, RmtauditError, UsageError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from rmtaudit.checkpoints import Checkpoint
    from rmtaudit.engine.settings.presets import ResolvedSettings
    from rmtaudit.engine.settings.scan import ScanSettings
    from rmtaudit.report.failing import FailOn
    from rmtaudit.report.model import FailedSubject, Report
    from rmtaudit.report.plots import PlotFolder
    from rmtaudit.report.plots.esd import EsdCollector

Result = TypeVar("Result")


@click.command(
    cls=VerifyingCommand,
    examples=[
        ("scan model.safetensors", "Judge a checkpoint"),
        ("scan model.safetensors -o report.json --fail-on error", "Keep the report, and fail on damage"),
        ("scan org/name --stream", "Audit a model of the Hub without downloading it"),
        ("scan adapter/ --base model/", "Audit an adapter, and its base with it merged in"),
    ],
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@settings_flags
@output_options(ALL_FORMATS)
@json_detail_option
@rows_options
@click.option(
    "--plots",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Draw every layer, and the layers side by side, into a folder with an index.html.",
)
@click.option(
    "--plot-format",
    type=click.Choice(["svg", "png", "both"]),
    default="svg",
    show_default=True,
    help="Format of the plots; png needs the extra plots.",
)
@click.option(
    "--verify",
    metavar="[N]",
    type=click.IntRange(min=1),
    help="Recompute N layers (3 without a number) with other libraries, and show the largest deviations.",
)
@fail_on_option
@click.option(
    "--base",
    metavar="BASE",
    type=click.Path(path_type=Path),
    help="Also analyse the weights of this model with PATH, an adapter, merged in.",
)
@click.option(
    "--stream",
    is_flag=True,
    help="Read a model of the Hugging Face Hub over the network, layer by layer, and write nothing to disk.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress; with -o, no table either.")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Print on stderr where each setting comes from and how long each step takes.",
)
@click.option("--no-progress", is_flag=True, help="No progress on stderr.")
def scan(
    paths: tuple[Path, ...],
    format_: str | None,
    output: Path | None,
    json_detail: str | None,
    top: int | None,
    plots: Path | None,
    plot_format: str,
    verify: int | None,
    fail_on: tuple[str, ...],
    base: Path | None,
    stream: bool,
    quiet: bool,
    verbose: bool,
    no_progress: bool,
    **flags: Any,
) -> int:
    """Analyse every weight matrix of checkpoints, one report each.

    PATH is a file (safetensors, PyTorch) or a folder with one checkpoint. With several paths, one that
    cannot be read is reported and the others are scanned. The models in a zip archive are scanned one by
    one; ARCHIVE.zip/NAME is one of them. OWNER/NAME and hf://OWNER/NAME[@REVISION][/FILE] are models of the
    Hugging Face Hub, from its local cache or downloaded into it; https://… is a file that is read over the
    network.
    """
    from rmtaudit.engine.settings.presets import resolve_settings
    from rmtaudit.report.failing import require_analyzers

    if quiet and verbose:
        message = "--quiet and --verbose contradict each other."
        raise UsageError("RA-US-004", message, hint="Give only one of them.")

    format_ = format_for(format_, output)
    require_json(json_detail, format_)
    resolved = resolve_settings(entries_of(flags))
    condition = condition_of(fail_on)
    require_analyzers(condition, resolved.settings.analyzers)
    with output_file(output, paths) if output else nullcontext() as file:
        if verify is not None:
            from rmtaudit.engine.verify.checks import require_libraries

            require_libraries()
        if verbose:
            _say_settings(resolved)
        run = _Run(
            checked=cache(lambda: _checked(resolved)),
            format=format_,
            file=file,
            top=top,
            quiet=quiet,
            progress=not (quiet or no_progress),
            verify=verify,
            fail_on=condition,
            base=base,
            stream=stream,
            detail=json_detail,
        )
        if not (run.progress and sys.stderr.isatty()):  # before huggingface_hub is imported and reads it
            os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        subjects, missing = _subjects(paths, stream=stream, quiet=quiet)
        folders = plot_folders(plots, subjects, plot_format)
        for path in subjects:
            if path in missing:
                run.add_failure(path, missing[path])
            elif not run.scan(path, folders.get(path)):
                break
            if verbose:
                run.say_timings()
        run.finish()
        annotate_findings(run.results, condition)
    return worst(run.codes)


@dataclass(slots=True, kw_only=True)
class _Run:
    """One command: its subjects so far, and what each came to.

    ``checked`` returns the settings of all subjects, or raises what is wrong with them. It is called once a
    subject has been opened: it imports the analyzers, and torch with them.
    """

    checked: Callable[[], ScanSettings]
    format: str
    file: OutputFile | None
    top: int | None
    quiet: bool
    progress: bool
    fail_on: FailOn
    detail: str | None = None
    verify: int | None = None
    base: Path | None = None
    stream: bool = False
    results: list[Report | FailedSubject] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    spectra: dict[int, EsdCollector] = field(default_factory=dict)

    def scan(self, path: Path, plots: PlotFolder | None = None) -> bool:
        """Scan one subject and show what can be shown at once; false if the user has interrupted it."""
        with ExitStack() as opened:
            checkpoints = self._attempt(path, lambda: self._open(path, opened))
            if checkpoints is None:
                return INTERRUPTED not in self.codes
            settings = self.checked()
            report = self._attempt(path, lambda: self._report(path, checkpoints, settings, plots))
        if report is None:
            return INTERRUPTED not in self.codes
        self.results.append(report)
        self.codes.append(code_of_report(report, path))
        self._show(report)
        self.codes.append(code_of_findings(report, self.fail_on))
        if report.verification is not None:
            self.codes.append(code_of_verification(report.verification))
        if plots is not None:
            self.codes.append(finish_plots(plots, report))
        return INTERRUPTED not in self.codes

    def _attempt(self, path: Path, step: Callable[[], Result]) -> Result | None:
        """Take one step with a subject; ``None`` if it failed, which is then recorded and reported."""
        try:
            return step()
        except RmtauditError as error:
            self.add_failure(path, placed(error, path))
        except KeyboardInterrupt:  # between two layers the engine takes it; this is before or after them
            click.echo("rmtaudit: interrupted", err=True)
            self.codes.append(INTERRUPTED)
        except Exception as error:  # a fault of ours in one subject must not lose the others
            self._keep_failure(path, internal_error(error, str(path)))
        return None

    def _open(self, path: Path, opened: ExitStack) -> tuple[Checkpoint, Checkpoint | None]:
        """Open a subject, and the base where there is one; ``opened`` closes them."""
        from rmtaudit.checkpoints import open_checkpoint

        checkpoint = open_checkpoint(path)
        opened.callback(_close, checkpoint)
        if self.base is None:
            return checkpoint, None
        try:
            base = open_checkpoint(self.base, stream=self.stream)
        except RmtauditError as error:
            raise placed(error, self.base) from None
        opened.callback(_close, base)
        return checkpoint, base

    def _report(
        self,
        path: Path,
        checkpoints: tuple[Checkpoint, Checkpoint | None],
        settings: ScanSettings,
        plots: PlotFolder | None,
    ) -> Report:
        from rmtaudit.cli.progress import expectation, watch
        from rmtaudit.engine.scan.run import scan_checkpoint

        checkpoint, base = checkpoints
        collector = collector_for(self.format)
        if collector is not None:
            self.spectra[len(self.results)] = collector
        draw = inspector(plots, collector)
        expect = expectation(streamed=bool(checkpoint.streamed)) if self.progress else None
        with watch(path.name or str(path), enabled=self.progress) as watcher:
            if self.verify is None:
                return scan_checkpoint(
                    checkpoint,
                    settings,
                    progress=watcher,
                    inspect=draw,
                    inspect_all=plots is not None,
                    base=base,
                    expect=expect,
                )
            from rmtaudit.engine.scan.verification import scan_and_verify

            return scan_and_verify(
                checkpoint,
                settings,
                layers=self.verify,
                progress=watcher,
                inspect=draw,
                base=base,
                expect=expect,
            )

    def add_failure(self, path: Path, error: RmtauditError) -> None:
        """Report a subject that cannot be scanned."""
        print_error(error)
        self._keep_failure(path, error)

    def _keep_failure(self, path: Path, error: RmtauditError) -> None:
        from rmtaudit.report.model import failed_subject

        self.results.append(failed_subject(str(path), error.code, error.message, error.hint))
        self.codes.append(code_of(error))
        self._show(self.results[-1])

    def finish(self) -> None:
        """Write what is written once, at the end."""
        from rmtaudit.report.model import Report

        if len(self.results) <= 1 and not any(isinstance(result, Report) for result in self.results):
            return  # nothing was scanned: the error is on stderr, and no file is better than an empty one
        if self.file is not None:
            self.file.write(rendered(self.results, self.format, self.top, self.detail, self.spectra))
        elif self.format not in ("table", "jsonl"):
            sys.stdout.write(rendered(self.results, self.format, self.top, self.detail, self.spectra))

    def say_timings(self) -> None:
        """Say how long each part of the last subject took."""
        timings = getattr(self.results[-1], "timings", {})
        parts = ", ".join(f"{name} {value:.2f}" for name, value in timings.items())
        click.echo(f"rmtaudit: timings: {parts or 'none'}", err=True)

    def _show(self, result: Report | FailedSubject) -> None:
        from rmtaudit.report.model import Report

        if self.format == "jsonl" and self.file is None:
            sys.stdout.write(rendered([result], "jsonl", self.top, self.detail))
            sys.stdout.flush()
        elif isinstance(result, Report) and (self.format == "table" if self.file is None else not self.quiet):
            from rmtaudit.cli.table import print_report

            try:
                print_report(result, top=self.top)
            except BrokenPipeError:
                if self.file is None:
                    raise
                self.quiet = True  # nobody reads the tables any more, but the file is still wanted


def _checked(resolved: ResolvedSettings) -> ScanSettings:
    from rmtaudit.analyzers.registry import build_all, metric_catalogue
    from rmtaudit.engine.settings.presets import select_metrics

    try:
        analyzers = build_all(resolved.settings.analyzers, resolved.settings.options)
    except UsageError as error:
        error.where = resolved.origins.get(error.where, error.where)  # the file and line, or the flag
        raise
    return select_metrics(resolved, metric_catalogue(analyzers))


def _subjects(
    paths: tuple[Path, ...], *, stream: bool, quiet: bool
) -> tuple[tuple[Path, ...], dict[Path, RmtauditError]]:
    """Return what is scanned, and the errors of what is not there.

    Scanned are the paths, and the models inside those that are archives of several.
    """
    from rmtaudit.checkpoints.bundle import subjects_of
    from rmtaudit.checkpoints.remote.addresses import shown
    from rmtaudit.checkpoints.remote.locate import located

    result: list[Path] = []
    missing: dict[Path, RmtauditError] = {}
    for given in paths:
        try:
            path = located(given, stream=stream, notify=note(quiet=quiet))
        except RmtauditError as error:
            path = Path(shown(given))
            missing[path] = placed(error, given)
            result.append(path)
            continue
        subjects = subjects_of(path)
        result.extend(subjects.paths)
        if subjects.note:
            click.echo(f"rmtaudit: {display_name(str(path))}: {subjects.note}", err=True)
    return tuple(result), missing


def _close(checkpoint: Checkpoint) -> None:
    with suppress(ChangedError):  # the scan has looked for that itself, and its report says so
        checkpoint.close()


def _say_settings(resolved: ResolvedSettings) -> None:
    from rmtaudit.cli.config import settings_lines

    for line in settings_lines(resolved, origins=True):
        click.echo(f"rmtaudit: {line}", err=True)
