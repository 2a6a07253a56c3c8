"""From the words of a command line to an answer."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.remote.addresses import is_remote
from rmtaudit.engine.logdet.answer import LogDeterminant
from rmtaudit.engine.logdet.run import explain, extrapolate_series, log_determinant
from rmtaudit.engine.logdet.series import read_table
from rmtaudit.engine.logdet.settings import LogdetSettings, Method
from rmtaudit.engine.resources.memory_size import parse_memory
from rmtaudit.engine.sources import SourceOptions, open_source
from rmtaudit.engine.sources.words import split_name, without_secrets
from rmtaudit.errors import UsageError

if TYPE_CHECKING:
    import torch

    from rmtaudit.engine.logdet.plan import Plan


def answer_request(
    text: str,
    options: SourceOptions,
    settings: LogdetSettings,
    *,
    series: bool = False,
    select: str = "",
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    announce: Callable[[Plan, Path], None] = lambda _plan, _scratch: None,
) -> LogDeterminant:
    """Return the answer about what a text names; raises as opening it and as the methods do."""
    if series:
        _check_no_source_options(options)
        answer = extrapolate_series(read_table(Path(text), select, settings.outputs), settings)
        return replace(answer, subject={**answer.subject, "source": text, "select": select})
    if select:
        raise UsageError("RA-LD-031", "--select requires --series.")
    source = open_source(text, options)
    try:
        answer = log_determinant(source, settings, stop=stop, progress=progress, announce=announce)
        return replace(answer, subject=_named(answer.subject, text, options))
    finally:
        source.close()


def explain_request(
    text: str, options: SourceOptions, settings: LogdetSettings, *, series: bool = False
) -> dict[str, Any]:
    """Return the document of the plan alone; nothing is computed."""
    if series:
        raise UsageError(
            "RA-LD-031", "A table of log-determinants has only one method, so there is no plan to explain."
        )
    source = open_source(text, options)
    try:
        document = explain(source, settings)
        return {**document, "subject": _named(document["subject"], text, options)}
    finally:
        source.close()


def settings_of(flags: Mapping[str, Any]) -> LogdetSettings:
    """Return the settings of the flags. Raises ``UsageError`` (RA-LD-030, RA-LD-031) for those that clash."""
    memory = None
    if flags["memory"] is not None:
        try:
            memory = parse_memory(flags["memory"])
        except ValueError as error:
            raise UsageError("RA-LD-030", f"--memory is {error}, not '{flags['memory']}'.") from None
    return LogdetSettings(
        method=None if flags["method"] is None else Method(flags["method"]),
        memory=memory,
        minors=flags["minors"] is not None,
        **{
            name: flags[name]
            for name in (
                "pseudo", "size", "outputs", "up_to", "tolerance", "smallest", "probes", "steps",
                "confidence", "seed", "threads", "device", "scratch", "resume", "unshift",
                "assume_random_order",
            )
        },
    )  # fmt: skip


def input_paths(text: str) -> list[Path]:
    """Return the files of this machine that a text names, of which none may be written."""
    parts = [part.strip() for part in text.split(" @ ") if part.strip()]
    return [split_name(part)[0] for part in parts if not is_remote(part)]


def npy_bytes(minors: torch.Tensor) -> bytes:
    """Return the log-determinants of leading minors as the bytes of a ``.npy`` file."""
    import numpy as np

    stream = io.BytesIO()
    np.save(stream, minors.numpy())
    return stream.getvalue()


def _named(subject: Mapping[str, Any], text: str, options: SourceOptions) -> dict[str, Any]:
    """Return a subject with the words that name it on a command line."""
    return {**subject, "source": without_secrets(text), "options": asdict(options)}


def _check_no_source_options(options: SourceOptions) -> None:
    if options != SourceOptions():
        raise UsageError(
            "RA-MS-036",
            "A table of log-determinants is not a matrix; omit the options that describe a matrix.",
        )
