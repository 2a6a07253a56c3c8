"""Which files of a folder look like weights, also those of formats that are not read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rmtaudit.checkpoints.listing import listed
from rmtaudit.checkpoints.registry import extensions, own_readers
from rmtaudit.names import display_name

_NOT_READ = (
    ".ckpt", ".caffemodel", ".distcp", ".engine", ".ggml", ".gguf", ".h5", ".hdf5", ".keras", ".llamafile",
    ".mar", ".mlmodel", ".mnn", ".msgpack", ".nemo", ".npz", ".onnx", ".ort", ".ot", ".params", ".pb",
    ".pdparams", ".plan", ".pte", ".rknn", ".tflite", ".weights",
)  # fmt: skip
"""Endings of weights beside those of the readers; some of them have a reader as well."""

_NOT_ALONE = (".xml",)
"""Endings of readers that most files with them do not mean."""

_NOT_WEIGHTS = re.compile(
    r"(optimizer|scheduler|scaler|rng_state|random_states|training_args|trainer_state|tokenizer|sentencepiece|vocab"
    r"|openvino_tokenizer|openvino_detokenizer)"
    r".*",
    re.IGNORECASE,
)

_FOLDERS_CAP = 1000
"""Most subfolders that are looked into."""

SHOWN = 8
"""Names in a list before it is cut."""


NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<extension>\.[a-z]+)")
"""Names of numbered shards."""

_WHOLE_BY_PART = (".gguf",)
"""Endings of models whose programs open all parts where one is given."""

_PARTS_CAP = 1000


def is_weight_name(name: str) -> bool:
    """Whether a file of this name is not known to be something else: an optimizer, a tokenizer."""
    return not _NOT_WEIGHTS.fullmatch(name)


def parts_of(name: str) -> tuple[str, ...]:
    """Return the names of all parts of a model of which a file is one, as llama.cpp names them.

    Empty for the name of a file that is no such part.
    """
    match = NUMBERED.fullmatch(name)
    count = int(match["count"]) if match else 0
    if match is None or match["extension"] not in _WHOLE_BY_PART or not 1 < count <= _PARTS_CAP:
        return ()
    return tuple(
        f"{match['stem']}-{number:05}-of-{match['count']}{match['extension']}"
        for number in range(1, count + 1)
    )


def weight_files(folder: Path) -> list[str]:
    """Return the files of a folder and of the folders in it whose names are those of weights.

    Parameters
    ----------
    folder
        The folder. Hidden folders, and what may not be listed, are passed over.

    Returns
    -------
    list[str]
        ``name`` and ``subfolder/name``, sorted, those of the folder itself first.
    """
    endings = _endings()
    files, folders = _entries(folder)
    names = [name for name in files if _is_weights(name, endings)]
    for subfolder in folders[:_FOLDERS_CAP]:
        inside, _ = _entries(folder / subfolder)
        names += [f"{subfolder}/{name}" for name in inside if _is_weights(name, endings)]
    return names


def weights_among(names: Iterable[str]) -> list[str]:
    """Return the names of a folder that are those of models: weights, and first files with a second one."""
    given = list(names)
    present, endings = set(given), _endings()
    second: set[str] = set()
    first: list[str] = []
    for reader in own_readers():
        for name in given if reader.companion else ():
            path = Path(name)
            companion = f"{path.stem}{reader.companion}"
            if path.suffix.lower() in reader.extensions and companion in present:
                first.append(name)
                second.add(companion)
    weights = {name for name in given if _is_weights(name, endings)} | set(first)
    return sorted(weights - second)


def shown_list(names: Sequence[str]) -> str:
    """Return names as one printable line, the first eight of them and the number of all."""
    shown = ", ".join(display_name(name, longest=80) for name in names[:SHOWN])
    return f"{shown}, … ({len(names)})" if len(names) > SHOWN else shown


def _endings() -> tuple[str, ...]:
    own = {ending.lower() for group in extensions().values() for ending in group}
    return tuple(sorted(own.union(_NOT_READ).difference(_NOT_ALONE)))


def _is_weights(name: str, endings: Iterable[str]) -> bool:
    return name.lower().endswith(tuple(endings)) and is_weight_name(name)


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the files and of the folders that are not hidden, each sorted."""
    try:
        files, folders = listed(folder)
    except OSError:
        return [], []
    return files, [name for name in folders if not name.startswith(".")]
