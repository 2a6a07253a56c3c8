"""From the words of a command line to a network that runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.engine.networks.settings import NetworkSettings
from rmtaudit.errors import InputError, UnreachableError, UnsafeError, UsageError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from rmtaudit.engine.networks.network import Network

_FACTORY = re.compile(r"(?P<module>[^:]+):(?P<name>[A-Za-z_][A-Za-z0-9_.]*)")


def open_network(text: str | Path, settings: NetworkSettings | None = None) -> Network:
    """Open the network that a command line names.

    Parameters
    ----------
    text
        A folder with a ``config.json`` of ``transformers`` and weights in any format that is read here; or
        ``module:factory`` or ``file.py:factory``, which returns a ``torch.nn.Module``, if code is allowed.
    settings
        Dtype, device, whether code is allowed, and the weights for the network of a factory.

    Returns
    -------
    Network
        In evaluation mode. No code of a checkpoint runs: ``trust_remote_code`` is never set, and pickled
        weights go through the reader that allows tensors only.

    Raises
    ------
    InputError
        It cannot be read, or its weights do not fill the network.
    UnsafeError
        RA-NW-010: it is code, and that is not allowed.
    UsageError
        The words do not decide it, or ``transformers`` is not installed.
    UnreachableError
        RA-NW-003: the device is not there.
    """
    chosen = settings or NetworkSettings()
    factory = check_network(text, chosen)
    check_device(chosen.device)
    if factory is not None:
        from rmtaudit.engine.networks.factory import open_factory

        return open_factory(*factory, chosen)
    from rmtaudit.engine.networks.hugging_face import open_folder

    return open_folder(Path(text), chosen)


def check_network(text: str | Path, chosen: NetworkSettings) -> tuple[str, str] | None:
    """Refuse what cannot name a network, without importing torch.

    Returns the module and the name of a factory, or ``None`` for a folder. Raises as :func:`open_network`.
    """
    words = str(text)
    factory = None if Path(words).exists() else _FACTORY.fullmatch(words)
    if factory is not None and not chosen.allow_code:
        raise UnsafeError(
            "RA-NW-010",
            "A factory is code, which runs only if it is allowed.",
            hint="Add --allow-code if you trust it.",
            where=display_name(words),
        )
    if factory is not None:
        return factory["module"], factory["name"]
    if chosen.state is not None:
        raise UsageError(
            "RA-NW-011",
            "A state dict requires module:factory, because a folder has its own weights.",
            where=words,
        )
    path = Path(words)
    if not path.exists():
        raise InputError(
            "RA-NW-012",
            "There is no such folder, and the argument is not of the form module:factory.",
            hint="Give a folder with config.json and weights.",
            where=display_name(words),
        )
    if not (path / "config.json").is_file():
        raise UsageError(
            "RA-NW-011",
            "Weights alone cannot be run: there is no config.json that describes their network.",
            hint="Give the folder of a transformers model, or module:factory with --state and --allow-code.",
            where=display_name(path.name or words),
        )
    return None


def check_device(name: str) -> None:
    """Raise ``UnreachableError`` (RA-NW-003) if a device cannot be used."""
    import torch

    kind = name.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[kind]
    index = int(name.partition(":")[2] or 0)
    if not there or (kind == "cuda" and index >= torch.cuda.device_count()):
        raise UnreachableError("RA-NW-003", f"This machine has no device '{name}'.", hint="--device cpu")
