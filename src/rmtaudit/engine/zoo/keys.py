"""What the records of a zoo depend on beside the bytes of a model: the settings, and the program."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import Any

from rmtaudit.analyzers.registry import build_all, plugin_versions
from rmtaudit.engine.resources.store import canonical
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.version import installed_version

_NOT_NUMBERS = ("cli",)
"""Packages of rmtaudit that no number depends on."""


def layer_settings(settings: ScanSettings) -> dict[str, Any]:
    """Return what the analysis of a layer depends on: analyzers, solver, arithmetic, seed, program."""
    analyzers = build_all(settings.analyzers, settings.options)
    return {
        "analyzers": {each.name: asdict(each.options) for each in analyzers},
        "solver": settings.solver,
        "precision": settings.precision,
        "device": settings.device,
        "seed": settings.seed,
        "program": program(settings),
    }


def report_settings(settings: ScanSettings) -> dict[str, Any]:
    """Return what a report depends on beside the model."""
    return {
        **layer_settings(settings),
        "preset": settings.preset,
        "conv": settings.conv,
        "include": list(settings.include),
        "exclude": list(settings.exclude),
        "sort": settings.sort,
        "columns": list(settings.columns),
    }


def program(settings: ScanSettings) -> dict[str, str]:
    """Return the versions of what computes: rmtaudit, its code, and the plugins that run."""
    plugins = plugin_versions(settings.analyzers)
    return {"rmtaudit": installed_version(), "code": _code_digest(), **plugins}


def source_key(path: str, report_key: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the record of a source is named by."""
    return {"path": path, "settings": digest_of(report_key)}


def digest_of(value: Any) -> str:
    """Return the digest of plain values."""
    return hashlib.sha256(canonical(value)).hexdigest()


@cache
def _code_digest() -> str:
    """Return the digest of the modules of rmtaudit: a changed one must not meet the records of the old."""
    total = hashlib.sha256()
    folders = [files("rmtaudit")]
    while folders:
        folder = folders.pop()
        for entry in sorted(folder.iterdir(), key=lambda each: each.name):
            if entry.is_dir():
                if entry.name not in (*_NOT_NUMBERS, "__pycache__"):
                    folders.append(entry)
            elif entry.name.endswith((".py", ".yaml")):
                total.update(entry.name.encode() + b"\0" + entry.read_bytes())
    return total.hexdigest()[:16]
