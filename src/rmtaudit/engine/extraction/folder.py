"""An adapter written as PEFT reads it."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from pathlib import Path

from rmtaudit.engine.extraction.extract import Extraction
from rmtaudit.errors import OutputError

FILES = ("adapter_model.safetensors", "adapter_config.json")


def check_free(folder: Path, *, force: bool) -> None:
    """Raise ``OutputError`` (RA-OU-005) if a folder holds an adapter and ``force`` is not given."""
    present = [name for name in FILES if (folder / name).exists()]
    if present and not force:
        raise OutputError(
            "RA-OU-005",
            f"{present[0]} exists already.",
            hint="Name another folder, or add --force to overwrite it.",
            where=str(folder),
        )


def write_adapter(extraction: Extraction, folder: Path, *, base: str, force: bool = False) -> None:
    """Write ``adapter_model.safetensors`` and ``adapter_config.json``.

    Every alpha is the rank, so that PEFT adds the product of the factors as it is.

    Parameters
    ----------
    extraction
        The adapter.
    folder
        Made if it is not there.
    base
        What ``base_model_name_or_path`` says.
    force
        Whether an adapter in the folder is replaced.

    Raises
    ------
    OutputError
        RA-OU-005: an adapter is there. RA-OU-006: the files cannot be written.
    """
    from safetensors.torch import save

    check_free(folder, force=force)
    config = json.dumps(_config(extraction, base), indent=2) + "\n"
    contents = (save(dict(extraction.factors), metadata={"format": "pt"}), config.encode())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in zip(FILES, contents, strict=True):
            temporary = folder / f".{name}.{secrets.token_hex(4)}.tmp"
            try:
                temporary.write_bytes(content)
                temporary.replace(folder / name)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        problem = error.strerror or type(error).__name__
        raise OutputError(
            "RA-OU-006", f"The adapter cannot be written: {problem}.", where=str(folder)
        ) from error


def _config(extraction: Extraction, base: str) -> dict[str, object]:
    ranks = {update.module: update.rank for update in extraction.updates}
    most_common = Counter(ranks.values()).most_common(1)[0][0]
    pattern = {
        "^" + module.replace(".", r"\.") + "$": rank for module, rank in ranks.items() if rank != most_common
    }
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base,
        "r": most_common,
        "lora_alpha": most_common,
        "rank_pattern": pattern,
        "alpha_pattern": pattern,
        "target_modules": list(ranks),
        "fan_in_fan_out": extraction.inputs_first,
        "bias": "none",
        "lora_dropout": 0.0,
        "inference_mode": True,
    }
