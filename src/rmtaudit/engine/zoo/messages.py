"""What is sent to a worker, and what comes back. Imports nothing that computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rmtaudit.engine.resources.device_names import Device
from rmtaudit.engine.settings.scan import ScanSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A model, or a part of one.

    Attributes
    ----------
    path
        What is opened.
    store
        The folder of the store; every worker reaches it under this path.
    settings
        Those of the scan, with one thread, a budget of bytes, and a device that is not ``auto``.
    layer_key, report_key
        The settings in the keys of records (:mod:`rmtaudit.engine.zoo.keys`).
    part
        Which part of how many; ``None`` for the model, whose layers the parts may have analysed.
    whole
        Whether the model is audited at once, however large it is.
    """

    path: str
    store: str
    settings: ScanSettings
    layer_key: Mapping[str, Any]
    report_key: Mapping[str, Any]
    part: tuple[int, int] | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a task.

    Attributes
    ----------
    source
        Name of the record of the source; empty for a part, and for a failure that may not last.
    model
        Name of the record of the model; ``None`` where there is none.
    body, summary
        Contents of the record of the source; the summary of the model.
    error
        Code, message and hint of what went wrong.
    stops
        Whether the run cannot go on: the store cannot be written.
    parts
        Number of parts in which the model is to be audited first; 0 for none.
    computed, reused
        Layers that were analysed, and that the store had.
    layers, first
        Of a part: how many layers it has, and the name of the first.
    """

    source: str = ""
    model: str | None = None
    body: Mapping[str, Any] | None = None
    summary: Mapping[str, Any] | None = None
    error: tuple[str, str, str] | None = None
    stops: bool = False
    parts: int = 0
    computed: int = 0
    reused: int = 0
    layers: int = 0
    first: str = ""


def task_settings(settings: ScanSettings, *, device: Device, memory: int) -> ScanSettings:
    """Return the settings of a scan as a task has them."""
    return replace(settings, threads=1, memory=memory, device=device)
