"""``config.json`` and ``adapter_config.json`` beside the weights: facts about the model, never code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rmtaudit.checkpoints.files import read_small
from rmtaudit.errors import InputError
from rmtaudit.names import display_name

CONFIG_CAP = 10_000_000
"""Largest such file in bytes."""

_NONE: Mapping[str, Any] = MappingProxyType({})


def read_config(folder: Path) -> tuple[Mapping[str, Any], list[str]]:
    """Return the content of a folder's ``config.json`` (empty without one), and warnings.

    A file that cannot be used is a warning, never an error: the weights can be audited without it.
    """
    table, warnings = _read(folder / "config.json")
    if "auto_map" in table:
        warnings.append("config.json refers to code of its own (auto_map), which was not run")
    return table, warnings


def read_adapter_config(folder: Path) -> tuple[Mapping[str, Any], list[str]]:
    """Return the content of a folder's ``adapter_config.json``; otherwise as :func:`read_config`."""
    return _read(folder / "adapter_config.json")


def _read(path: Path) -> tuple[Mapping[str, Any], list[str]]:
    try:
        if not path.is_symlink() and not path.exists():
            return _NONE, []
        table = json.loads(read_small(path, CONFIG_CAP))
    except InputError as error:
        return _NONE, [f"{path.name} was not read: {error.message}"]
    except OSError as error:
        return _NONE, [f"{path.name} was not read: {error.strerror}"]
    except RecursionError:
        return _NONE, [f"{path.name} was not read: it is nested too deeply"]
    except ValueError as error:
        return _NONE, [f"{path.name} was not read: {display_name(str(error))}"]
    if type(table) is not dict:
        return _NONE, [f"{path.name} was not read: it is not a JSON object"]
    return MappingProxyType(table), []
