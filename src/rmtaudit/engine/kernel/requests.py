"""From the words of a command line to a kernel on disk, and to its log-determinant."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rmtaudit.engine.kernel.forming_matrix import FormingMatrix
from rmtaudit.engine.kernel.run import Formation, Kernel, finished_facts, kernel_of, open_formation
from rmtaudit.engine.kernel.settings import KernelSettings
from rmtaudit.engine.logdet.answer import LogDeterminant, plain
from rmtaudit.engine.logdet.run import log_determinant
from rmtaudit.engine.logdet.settings import LogdetSettings
from rmtaudit.engine.networks import NetworkSettings, open_network, open_samples
from rmtaudit.engine.resources.threads import cpus, threads
from rmtaudit.errors import UsageError
from rmtaudit.names import display_name
from rmtaudit.version import installed_version

SCHEMA_NAME, SCHEMA_VERSION = "rmtaudit.kernel", "1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRequest:
    """What a command line asks for.

    Attributes
    ----------
    model, data, out
        The network, the samples, and the array that is written.
    network, kernel
        How they are opened and formed.
    logdet
        The log-determinant that is wanted too, or ``None``.
    threads
        Of torch and BLAS; ``None``: the CPUs of this process.
    """

    model: str
    data: Path
    out: Path
    network: NetworkSettings
    kernel: KernelSettings
    logdet: LogdetSettings | None = None
    threads: int | None = None


def answer_request(
    request: KernelRequest,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[dict[str, Any], LogDeterminant | None]:
    """Form a kernel, all of it or as much as its log-determinant needs; return the document and the answer.

    Raises
    ------
    UsageError, InputError, UnsafeError, UnreachableError
        As opening the network, the samples and the array do.
    StoppedWorkError
        If ``stop`` ended the work; finished blocks are kept.
    """
    started, cpu = time.perf_counter(), time.process_time()
    _check_zarr(request.out)
    count = request.threads or cpus()
    with threads(count):
        network = open_network(request.model, request.network)
        samples = open_samples(request.data, network, limit=request.kernel.limit)
        kernel = kernel_of(network, samples, request.kernel, request.out)
        formation = open_formation(kernel, request.out, stop=stop, progress=progress)
        resumed = formation.array.finished
        answer = None
        try:
            if request.logdet is None:
                formation.form()
            else:
                answer = _log_determinant(formation, replace(request.logdet, threads=count), stop)
            formed = _conclude(formation)
        finally:
            formation.close()
    document = {
        "schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION},
        "tool": {
            "version": installed_version(),
            "options": plain({**asdict(request.kernel), **_network_options(request.network)}),
            "seed": request.kernel.seed,
        },
        "subject": _subject(kernel, request),
        "result": _result(kernel, formation, formed),
        "logdet": None if answer is None else answer.to_dict(),
        "warnings": [{"code": code, "message": text} for code, text in _warnings(kernel, formation, formed)],
        "run": {
            "blocks_resumed": resumed,
            "blocks_damaged": formation.array.damaged,
            "feature_blocks_made": formation.made,
            "forming_seconds": round(formation.seconds, 3),
            "wall_seconds": round(time.perf_counter() - started, 3),
            "cpu_seconds": round(time.process_time() - cpu, 3),
            "threads": count,
        },
    }
    return document, answer


def _log_determinant(
    formation: Formation, settings: LogdetSettings, stop: Callable[[], bool]
) -> LogDeterminant:
    """Return the log-determinant of a kernel that is formed as far as the method reads it."""
    blocks = formation.kernel.blocks
    if settings.tolerance is None:
        formation.form()
    else:
        settings = replace(
            settings,
            size=blocks.samples,
            outputs=blocks.outputs,
            assume_random_order=settings.assume_random_order or formation.kernel.settings.shuffle,
        )
    source = FormingMatrix(formation)
    try:
        return log_determinant(source, settings, stop=stop)
    finally:
        source.close()


def _conclude(formation: Formation) -> int:
    """Leave the leading rows that are finished, say what they are, and return the number of their samples."""
    kernel, array = formation.kernel, formation.array
    pending = next(array.pending(), None)
    formed = kernel.blocks.samples if pending is None else kernel.blocks.indices(pending[0]).start
    if formed < kernel.blocks.samples:
        array.cut(max(1, formed) * kernel.outputs)
    array.describe(finished_facts(kernel, formed))
    return formed


def _subject(kernel: Kernel, request: KernelRequest) -> dict[str, Any]:
    return {
        "network": {
            "name": kernel.network.name,
            "origin": str(kernel.network.origin),
            "digest": kernel.network.digest,
            "dtype": str(kernel.network.dtype).removeprefix("torch."),
            "device": str(kernel.network.device),
            **kernel.routes(),
        },
        "data": {
            "name": kernel.samples.name,
            "samples": kernel.blocks.samples,
            "truncated": kernel.samples.truncated,
            "digest": kernel.samples.digest,
        },
        "source": {"model": display_name(request.model), "data": display_name(str(request.data))},
    }


def _result(kernel: Kernel, formation: Formation, formed: int) -> dict[str, Any]:
    return {
        "path": display_name(str(formation.array.folder)),
        "kernel": str(kernel.settings.kind),
        "row": kernel.maker.words,
        "arithmetic": kernel.arithmetic,
        "samples": formed,
        "outputs": kernel.outputs,
        "shape": [formed * kernel.outputs] * 2,
        "shape_of_all": [kernel.blocks.rows] * 2,
        "order": kernel.facts()["order"],
        "blocks": formation.array.finished,
        "blocks_of_all": kernel.blocks.total,
        "samples_a_block": kernel.blocks.size,
    }


def _warnings(kernel: Kernel, formation: Formation, formed: int) -> list[tuple[str, str]]:
    warnings = [("RA-KN-101", text) for text in kernel.network.warnings]
    parameters = kernel.routes().get("parameters")
    rank = parameters if parameters is not None else getattr(kernel.maker, "width", None)
    rows = formed * kernel.outputs
    if rank is not None and rank < rows:
        what = "parameters" if parameters is not None else "features"
        warnings.append(
            ("RA-KN-102", f"{rows:,} rows of {rank:,} {what}: the kernel is singular, apart from rounding.")
        )
    if formation.array.damaged:
        warnings.append(
            (
                "RA-KN-103",
                (
                    f"{formation.array.damaged:,} blocks did not match their checksums; they were "
                    "they were formed again."
                ),
            )
        )
    if kernel.samples.truncated:
        warnings.append(
            (
                "RA-KN-104",
                (
                    f"{kernel.samples.truncated:,} texts were truncated to the number of "
                    "positions of the network."
                ),
            )
        )
    return warnings


def _network_options(settings: NetworkSettings) -> Mapping[str, Any]:
    return {
        "dtype": settings.dtype,
        "device": settings.device,
        "allow_code": settings.allow_code,
        "state": None if settings.state is None else display_name(str(settings.state)),
    }


def _check_zarr(out: Path) -> None:
    try:
        import zarr  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "RA-MS-033",
            "The package zarr is not installed.",
            hint="pip install 'rmtaudit[networks]'",
            where=display_name(str(out)),
        ) from error
