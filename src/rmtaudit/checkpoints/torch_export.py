"""Archives of ``torch.export.save``: a stored zip of raw weights and the tables that describe them.

The layout is that of ``torch/export/pt2_archive`` (torch 2.8 to 2.13). A table of weights
(``data/weights/NAME_weights_config.json``) maps the name of a parameter or buffer to a record, its dtype,
sizes, strides and storage offset. Nothing is pickled but tensor subclasses, which are listed and not read.
Sample inputs are no weights.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.inert import Storage, StoredTensor
from rmtaudit.checkpoints.storages import Record, TorchCheckpoint, locate
from rmtaudit.checkpoints.torch_zip import is_big_endian
from rmtaudit.checkpoints.zips import ZipEntry, data_offset, list_entries
from rmtaudit.errors import CorruptError, NotACheckpointError, UnsafeError
from rmtaudit.matrices.tensors import ITEMSIZE, Role, TensorSpec, Use
from rmtaudit.names import display_name

CONFIG_CAP = 256 << 20
"""Largest table of weights in bytes: a million entries take about as much."""

_DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16",
    29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz",
    33: "float8_e8m0fnu", 34: "uint32", 35: "uint64",
}  # fmt: skip
"""``ScalarType`` of ``torch/_export/serde/schema.py``."""

_STRIDED = 7
_WEIGHTS, _CONSTANTS = "data/weights/", "data/constants/"
_CONFIGS = ((_WEIGHTS, "_weights_config.json", False), (_CONSTANTS, "_constants_config.json", True))
_CONSTANT = Role(use=Use.NONE, reason="constant of the exported program, outside its state dict")

Entries = dict[str, ZipEntry]


def open_exported(source: FileSource, format: str) -> Checkpoint:
    """Return the checkpoint of an archive; the caller closes ``source`` if this raises an ``InputError``."""
    entries = {entry.name: entry for entry in list_entries(source)}
    root = next(name for name in entries if name.endswith("archive_format"))[: -len("archive_format")]
    named: list[tuple[str, StoredTensor]] = []
    constants: set[str] = set()
    records: dict[str, Record] = {}
    tables = [
        (name, folder, suffix, constant)
        for folder, suffix, constant in _CONFIGS
        for name in sorted(entries)
        if name.startswith(root + folder) and name.endswith(suffix)
    ]
    models = sum(not constant for *_, constant in tables)
    if not models:
        raise _without_weights(entries, root, source.where)
    for name, folder, suffix, constant in tables:
        model = name[len(root + folder) : -len(suffix)]
        for tensor_name, fields in _table(source, entries[name]).items():
            tensor = _tensor(tensor_name, fields, root + folder, entries, source.where)
            if tensor is None:
                continue
            if type(tensor.data) is Storage and tensor.data.key not in records:
                stored = entries[tensor.data.key]
                records[tensor.data.key] = Record(data_offset(source, stored), stored.size)
            label = f"{model}.{tensor_name}" if models > 1 else tensor_name
            label = f"{label} (constant)" if constant and any(label == other for other, _ in named) else label
            named.append((label, tensor))
            if constant:
                constants.add(label)
    big_endian = is_big_endian(source, entries.get(f"{root}byteorder"))
    tensors = [
        (_with_role(spec) if spec.name in constants else spec, place)
        for spec, place in locate(named, records, source.where, big_endian=big_endian)
    ]
    return TorchCheckpoint(source, format, tensors, _warnings(entries, root, models))


def _with_role(spec: TensorSpec) -> TensorSpec:
    return replace(spec, role=_CONSTANT)


def _without_weights(entries: Entries, root: str, where: str) -> NotACheckpointError:
    compiled = any(name.startswith((f"{root}data/aotinductor/", f"{root}data/mtia")) for name in entries)
    if compiled or any(name.startswith(f"{root}data/executorch/") for name in entries):
        kind = "an AOTInductor package" if compiled else "an ExecuTorch package"
        return NotACheckpointError(
            "RA-IN-195",
            f"This is {kind}, whose weights are part of compiled code.",
            hint="Audit the model that it was compiled from: torch.export.save(program, 'model.pt2')",
            where=where,
        )
    return NotACheckpointError(
        "RA-IN-187", "The archive of torch.export has no table of weights.", where=where
    )


def _table(source: FileSource, entry: ZipEntry) -> dict[str, Any]:
    """Return the entries of a table by the names of the tensors."""
    if entry.size > CONFIG_CAP:
        raise UnsafeError(
            "RA-IN-187",
            f"The table '{display_name(entry.name)}' has {entry.size} bytes; at most {CONFIG_CAP} are read.",
            where=source.where,
        )
    try:
        table = json.loads(
            bytes(source.pread(data_offset(source, entry), entry.size)), object_pairs_hook=_unique
        )
    except RecursionError as error:
        raise _bad(entry.name, "it is nested too deeply", source.where) from error
    except ValueError as error:
        raise _bad(entry.name, f"it is not JSON: {display_name(str(error))}", source.where) from error
    config = table.get("config") if type(table) is dict else None
    if type(config) is not dict:
        raise _bad(entry.name, "it has no 'config'", source.where)
    return config


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _tensor(name: str, fields: Any, folder: str, entries: Entries, where: str) -> StoredTensor | None:
    """Return the description of one tensor; ``None`` for an object that is none."""
    if type(fields) is not dict:
        raise _bad(name, "its entry is not a JSON object", where)
    path, meta = fields.get("path_name"), fields.get("tensor_meta")
    if type(meta) is not dict:
        if fields.get("use_pickle") is True:
            return None  # an object of the program, which is pickled
        raise _bad(name, "its entry has no tensor_meta", where)
    code, layout = meta.get("dtype"), meta.get("layout")
    dtype = _DTYPES.get(code) if type(code) is int else None
    if dtype is None:
        raise _bad(name, f"unknown dtype {display_name(str(code), longest=20)}", where)
    unreadable = None if dtype in ITEMSIZE else f"dtype {dtype}"
    if fields.get("use_pickle") is not False:
        unreadable = "a tensor subclass, stored as a pickle inside the archive"
    elif layout != _STRIDED:
        unreadable = "sparse tensor"
    shape, stride = _numbers(name, meta.get("sizes"), where), _numbers(name, meta.get("strides"), where)
    (offset,) = _numbers(name, [meta.get("storage_offset")], where)
    key = f"{folder}{path}"
    if type(path) is not str or key not in entries:
        raise CorruptError(
            "RA-IN-050",
            f"Tensor '{display_name(name)}': its record '{display_name(str(path))}' is not in the file.",
            hint="Download it again.",
            where=where,
        )
    return StoredTensor(
        dtype=dtype,
        shape=shape,
        stride=stride,
        offset=offset,
        data=None if unreadable else Storage(key, dtype, entries[key].size // ITEMSIZE.get(dtype, 1)),
        unreadable=unreadable,
    )


def _numbers(name: str, values: Any, where: str) -> tuple[int, ...]:
    """Return integers, each of them written as ``{"as_int": 3}``."""
    listed = values if type(values) is list else [None]
    numbers = [value.get("as_int") if type(value) is dict else None for value in listed]
    if not all(type(number) is int for number in numbers):
        raise _bad(name, "its sizes, strides or offset are not lists of integers", where)
    return tuple(numbers)  # type: ignore[arg-type]


def _warnings(entries: Entries, root: str, models: int) -> list[str]:
    warnings = [f"{models} models in one archive; their names come first"] if models > 1 else []
    samples = sum(name.startswith(f"{root}data/sample_inputs/") for name in entries)
    if samples:
        warnings.append("sample inputs of the program were ignored")
    return warnings


def _bad(name: str, fault: str, where: str) -> CorruptError:
    return CorruptError("RA-IN-187", f"'{display_name(name)}': {fault}.", where=where)
