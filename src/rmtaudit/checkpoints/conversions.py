"""Formats that are named and not read, each with what makes of it one that is.

One table: how a folder or the beginning of a file is recognised, what it is, what to do. The commands are
those of the projects' own documentation; words in capitals stand for paths.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmtaudit.errors import NotACheckpointError
from rmtaudit.names import display_name

_DEEPSPEED = re.compile(
    r"(?:(?:bf16_)?zero_pp_rank_\d+_)?mp_rank_\d+(?:_\d+)?_(?:model|optim)_states\.pt"
    r"|layer_\d+-model_\d+-model_states\.pt"
)
_TENSORFLOW = re.compile(r"(.+)\.data-\d{5}-of-\d{5}")
_TFJS = re.compile(r"group\d+-shard\d+of\d+(?:\.bin)?")
_CTRANSLATE2 = re.compile(rb"[\x01-\x20]\0\0\0[\x02-\x60]\0\w{1,90}Spec\0")
_LC0 = b"\x0d\xc0\x01\x00\x00"  # the fixed32 0x1c0 in field 1 of lczero's Net message

ZERO_HINT = (
    "Run in the folder that holds zero_to_fp32.py: python zero_to_fp32.py . OUTPUT --safe_serialization"
)
MEGATRON_HINT = (
    "Merge them with Megatron-LM: python tools/checkpoint/convert.py --model-type GPT --loader core "
    "--saver core --target-tensor-parallel-size 1 --target-pipeline-parallel-size 1 --load-dir FOLDER "
    "--save-dir OUTPUT"
)
ORIGINAL_HINT = "The weights that it was made from cannot be recovered: audit those instead."

Names = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFormat:
    """A folder that is named and refused.

    Attributes
    ----------
    recognises
        From the names of its files and those of its folders to whether it is one.
    owns
        Whether a file in it is a part of the format, although its ending is that of weights.
    kind, hint
        What it is, and what to do.
    """

    recognises: Callable[[Names, Names], bool]
    kind: str
    hint: str
    owns: Callable[[str], bool] = lambda _: False


FOLDERS: tuple[FolderFormat, ...] = (
    FolderFormat(
        recognises=lambda files, folders: (
            any(map(_DEEPSPEED.fullmatch, files))
            or ("zero_to_fp32.py" in files and any(each.startswith("global_step") for each in folders))
        ),
        owns=lambda name: _DEEPSPEED.fullmatch(name) is not None,
        kind="a checkpoint of DeepSpeed, whose weights may be spread over the files of several processes",
        hint=ZERO_HINT,
    ),
    FolderFormat(
        recognises=lambda _, folders: sum(each.startswith(("mp_rank_", "tp_rank_")) for each in folders) > 1,
        kind="a checkpoint of Megatron whose matrices are split over several folders",
        hint=MEGATRON_HINT,
    ),
    FolderFormat(
        recognises=lambda files, folders: (
            bool({"_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt"} & files)
            or any(each.startswith("ocdbt.process_") for each in folders)
        ),
        kind="an Orbax checkpoint (JAX)",
        hint="Restore it (orbax.checkpoint.PyTreeCheckpointer().restore(FOLDER)) and save the arrays with "
        "numpy.savez or safetensors.",
    ),
    FolderFormat(
        recognises=lambda files, _: bool({"saved_model.pb", "saved_model.pbtxt"} & files),
        owns=lambda name: name.endswith((".pb", ".pbtxt")),
        kind="a TensorFlow SavedModel",
        hint="Convert it: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx",
    ),
    FolderFormat(
        recognises=lambda files, _: "model.json" in files and any(map(_TFJS.fullmatch, files)),
        owns=lambda name: _TFJS.fullmatch(name) is not None,
        kind="a model of TensorFlow.js",
        hint="Convert it: python -m tf2onnx.convert --tfjs FOLDER/model.json --output model.onnx",
    ),
    FolderFormat(
        recognises=lambda files, _: any(
            f"{match[1]}.index" in files for name in files if (match := _TENSORFLOW.fullmatch(name))
        ),
        kind="a TensorFlow checkpoint",
        hint="Convert it: python -m tf2onnx.convert --checkpoint MODEL.meta --output model.onnx --inputs "
        "INPUT:0 --outputs OUTPUT:0; or read it with tf.train.load_checkpoint and save it with numpy.savez.",
    ),
)


def folder_refusal(
    folder: Path, files: Sequence[str], *, weights: Sequence[str] = ()
) -> NotACheckpointError | None:
    """Return the refusal of a folder of such a format, or ``None``.

    Parameters
    ----------
    folder
        The folder.
    files
        Names of the files in it.
    weights
        Those that would be opened otherwise: the folder is refused only where all of them belong to it.
    """
    try:
        folders = frozenset(entry.name for entry in folder.iterdir() if entry.is_dir())
    except OSError:
        folders = frozenset()
    names = frozenset(files)
    for each in FOLDERS:
        if each.recognises(names, folders) and all(map(each.owns, weights)):
            return _refusal(each.kind, each.hint, display_name(folder.name or str(folder)))
    return None


def file_refusal(path: Path, head: bytes) -> NotACheckpointError | None:
    """Return the refusal of a file of such a format, or ``None``.

    Parameters
    ----------
    path
        The file; its name counts for parts that have no mark of their own.
    head
        Its first bytes (up to 4096).
    """
    kind, hint = "", ""
    if head[4:8] in {b"ET12", b"ET13"}:
        kind = "an ExecuTorch program, whose weights are prepared for a device"
        hint = "Audit the model that it was exported from: torch.export.save(program, 'model.pt2')"
    elif _CTRANSLATE2.match(head):
        kind, hint = "a CTranslate2 model, whose weights are fused and often quantised", ORIGINAL_HINT
    elif head.startswith(_LC0) or _gunzipped(head).startswith(_LC0):
        kind = "a network of Leela Chess Zero"
        hint = "Convert it: lc0 leela2onnx --input=NETWORK --output=network.onnx"
    elif head.lstrip()[:1] == b"{" and (b'"modelTopology"' in head or b'"weightsManifest"' in head):
        kind = "the description of a TensorFlow.js model"
        hint = "Convert it: python -m tf2onnx.convert --tfjs model.json --output model.onnx"
    elif _TFJS.fullmatch(path.name):
        kind = "weights of a TensorFlow.js model, which model.json describes"
        hint = "Convert it: python -m tf2onnx.convert --tfjs model.json --output model.onnx"
    elif path.suffix.lower() == ".nemo" and head.startswith(b"\x1f\x8b"):
        return tar_refusal((), path.name)
    elif _TENSORFLOW.fullmatch(path.name) or (path.suffix == ".index" and head[:1] == b"\0"):
        kind, hint = "a part of a TensorFlow checkpoint", FOLDERS[-1].hint
    return _refusal(kind, hint, display_name(path.name)) if kind else None


def part_refusal(path: Path) -> NotACheckpointError | None:
    """Return the refusal of a file of a distributed checkpoint, whose folder is what is read, or ``None``."""
    is_metadata = path.name == ".metadata" and any(path.parent.glob("*.distcp"))
    if not is_metadata and path.suffix.lower() != ".distcp":
        return None
    return NotACheckpointError(
        "RA-IN-194",
        "This is a file of a distributed checkpoint; the chunks of a tensor may be spread over several "
        "files.",
        hint="Give the folder, whose files are read together.",
        where=display_name(path.name),
    )


def scheme_refusal(config: Mapping[str, Any], where: str) -> NotACheckpointError | None:
    """Return the refusal of a model quantised in a scheme that cannot be undone here, or ``None``.

    Parameters
    ----------
    config
        The model's ``config.json``; empty where there is none.
    where
        The file, for the message.
    """
    quantisation = config.get("quantization_config")
    method = quantisation.get("quant_method") if isinstance(quantisation, Mapping) else None
    if type(method) is not str or method.lower() not in {"exl2", "exl3"}:
        return None
    return _refusal(f"a model quantised by {method.upper()}", ORIGINAL_HINT, where)


def tar_refusal(names: Sequence[str], name: str) -> NotACheckpointError | None:
    """Return the refusal of a tar archive of NeMo, by the names in it and its own name, or ``None``."""
    inside = {each.removeprefix("./") for each in names}
    if "model_config.yaml" not in inside and not name.lower().endswith(".nemo"):
        return None
    weights = sorted(each for each in inside if each.endswith((".ckpt", ".pt", "model_weights/")))
    shown = display_name(weights[0]) if weights else "model_weights.ckpt"
    hint = f"Unpack it: tar -xf {display_name(name)}; then give {shown}."
    return _refusal("a NeMo archive", hint, display_name(name))


def _gunzipped(head: bytes) -> bytes:
    if not head.startswith(b"\x1f\x8b"):
        return b""
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head, 64)
    except zlib.error:
        return b""


def _refusal(kind: str, hint: str, where: str) -> NotACheckpointError:
    return NotACheckpointError(
        "RA-IN-195", f"This is {kind}, which rmtaudit does not read.", hint=hint, where=where
    )
