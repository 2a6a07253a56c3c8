"""From the words of a command line to the document of activations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from rmtaudit.engine.activations.layers import Unmeasured
from rmtaudit.engine.activations.numbers import CONFIDENCE, NumberStatus
from rmtaudit.engine.activations.run import LayerActivations, measure
from rmtaudit.engine.activations.settings import FEWEST, GROUPS, ActivationsSettings
from rmtaudit.engine.networks import Network, NetworkSettings, Samples, open_network, open_samples
from rmtaudit.engine.resources.threads import cpus, threads
from rmtaudit.names import display_name
from rmtaudit.version import installed_version

SCHEMA_NAME, SCHEMA_VERSION = "rmtaudit.activations", "1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationsRequest:
    """What a command line asks for.

    Attributes
    ----------
    model, data
        The network and the samples.
    network, activations
        How they are opened and measured.
    threads
        Of torch and BLAS; ``None``: the CPUs of this process.
    """

    model: str
    data: Path
    network: NetworkSettings
    activations: ActivationsSettings
    threads: int | None = None


def answer_request(
    request: ActivationsRequest,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[dict[str, Any], bool]:
    """Measure activations; return the document, and whether the samples were enough for all of it.

    Raises
    ------
    UsageError, InputError, UnsafeError, UnreachableError
        As opening the network and the samples do, and as
        :func:`~rmtaudit.engine.activations.run.measure`.
    StoppedWorkError
        If ``stop`` ended the work.
    """
    started, cpu = time.perf_counter(), time.process_time()
    count = request.threads or cpus()
    with threads(count):
        network = open_network(request.model, request.network)
        samples = open_samples(request.data, network, limit=request.activations.limit)
        rows = measure(network, samples, request.activations, stop=stop, progress=progress)
    state = request.network.state
    document = {
        "schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION},
        "tool": {
            "version": installed_version(),
            "options": {
                **asdict(request.activations),
                "dtype": request.network.dtype,
                "device": request.network.device,
                "allow_code": request.network.allow_code,
                "state": None if state is None else display_name(str(state)),
            },
            "seed": request.activations.seed,
        },
        "subject": _subject(request, network, samples),
        "method": {
            "row": "one random position of each sample",
            "fewest_samples": FEWEST,
            "groups": GROUPS,
            "confidence": CONFIDENCE,
        },
        "layers": [_layer(row) for row in rows],
        "warnings": [{"code": code, "message": text} for code, text in _warnings(network, samples, rows)],
        "run": {
            "wall_seconds": round(time.perf_counter() - started, 3),
            "cpu_seconds": round(time.process_time() - cpu, 3),
            "threads": count,
        },
    }
    return document, enough(rows)


def enough(rows: Sequence[LayerActivations]) -> bool:
    """Whether something was measured, and nothing is missing for want of samples."""
    return any(row.unmeasured is None for row in rows) and not any(
        row.unmeasured is Unmeasured.SAMPLES
        or any(number.status is NumberStatus.FEW_SAMPLES for number in row.numbers.values())
        for row in rows
    )


def _subject(request: ActivationsRequest, network: Network, samples: Samples) -> dict[str, Any]:
    return {
        "network": {
            "name": network.name,
            "origin": str(network.origin),
            "digest": network.digest,
            "dtype": str(network.dtype).removeprefix("torch."),
            "device": str(network.device),
        },
        "data": {
            "name": samples.name,
            "samples": len(samples),
            "truncated": samples.truncated,
            "digest": samples.digest,
        },
        "source": {"model": display_name(request.model), "data": display_name(str(request.data))},
    }


def _layer(row: LayerActivations) -> dict[str, Any]:
    layer = row.layer
    return {
        "name": layer.name,
        "kind": str(layer.kind),
        "shape": [layer.outputs, layer.inputs],
        "positions": layer.positions,
        "runs": layer.runs,
        "shares_input_with": None if row.shared == layer.name else row.shared,
        "status": "ok" if row.unmeasured is None else "skipped",
        "reason": "" if row.unmeasured is None else str(row.unmeasured),
        "activations": row.facts or None,
        "numbers": {name: number.to_dict() for name, number in row.numbers.items()},
    }


def _warnings(
    network: Network, samples: Samples, rows: Sequence[LayerActivations]
) -> Iterator[tuple[str, str]]:
    for text in network.warnings:
        yield "RA-AC-101", text
    if samples.truncated:
        yield (
            "RA-AC-102",
            (f"{samples.truncated:,} texts were truncated to the number of positions of the network."),
        )
    uneven = [row.layer.name for row in rows if row.facts and row.facts["lengths"]["uneven"]]
    if uneven:
        yield (
            "RA-AC-104",
            (
                f"The inputs of {len(uneven):,} layers ('{display_name(uneven[0])}' …) differ much in length "
                "from sample to sample. Rank and log-determinant, marked *, are corrected for a scale that "
                "is common to all numbers of a sample, and for nothing else."
            ),
        )
    copies = len(samples) - _distinct(samples)
    if copies:
        yield (
            "RA-AC-103",
            (
                f"{copies:,} samples are copies of others: the samples are not independent, and the "
                "stated errors are too small."
            ),
        )


def _distinct(samples: Samples) -> int:
    if samples.tokens is not None:
        return len(set(samples.tokens.ids))
    flat = [each.reshape(len(samples), -1) for each in samples.arrays.values()]
    seen = set()
    for index in range(len(samples)):
        seen.add(hash(tuple(each[index].contiguous().view(torch.uint8).numpy().tobytes() for each in flat)))
    return len(seen)
