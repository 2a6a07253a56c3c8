"""What a global in a pickle stands for: a description of ours, a foreign name, or a refusal.

No name is looked up in any module: the tables below are all there is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rmtaudit.checkpoints.arrays import array_of_buffer, new_dtype
from rmtaudit.checkpoints.dangerous import is_dangerous
from rmtaudit.checkpoints.distributed_tensors import distributed_tensor
from rmtaudit.checkpoints.inert import (
    DType,
    Foreign,
    Instance,
    MalformedError,
    NumpyArray,
    StorageKind,
    StoredTensor,
    integers,
)
from rmtaudit.checkpoints.tensor_builders import (
    nested,
    quantised,
    same,
    sparse,
    tensor,
    typed_tensor,
    without_values,
    wrapper_subclass,
)
from rmtaudit.errors import NotACheckpointError, UnsafeError
from rmtaudit.matrices.tensors import ITEMSIZE
from rmtaudit.names import display_name

STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16",
    "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2", "QUInt2x4Storage": "quint2x4",
}  # fmt: skip
"""dtype by the name of torch's typed storage classes."""

_OTHER_DTYPES = {
    "qint8", "quint8", "qint32", "quint4x2", "quint2x4", "complex32", "float4_e2m1fn_x2", "bits8", "bits16",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)),
}  # fmt: skip
_DTYPES = {**{name: name for name in (*ITEMSIZE, *_OTHER_DTYPES)},
           "float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int32",
           "short": "int16", "cfloat": "complex64", "cdouble": "complex128"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """A function or class that is imitated: ``build`` takes the pickle's arguments."""

    build: Callable[..., object]


def resolve(module: str, name: str, where: str) -> object:
    """Return what a pickle may use in place of ``module.name``.

    Raises
    ------
    UnsafeError
        The name is one that runs code.
    """
    known = _KNOWN.get((module, name))
    if known is not None:
        return known
    if module in {"torch", "torch.cuda", "torch.storage"} and name in STORAGES:
        return StorageKind(STORAGES[name])
    if module == "torch" and name in _DTYPES:
        return DType(_DTYPES[name])
    if (module, name) == ("torch.storage", "_load_from_bytes"):
        raise UnsafeError(
            "RA-IN-045",
            "A tensor was pickled without torch.save, as a pickle inside a pickle, which is not read.",
            hint="Save it with torch.save, or as safetensors.",
            where=where,
        )
    if (module, name) == ("joblib.numpy_pickle", "NumpyArrayWrapper"):
        raise NotACheckpointError(
            "RA-IN-197",
            "This is a joblib dump, whose arrays lie between the instructions of the pickle; it is not read.",
            hint="Save the arrays with numpy.savez, or the model with torch.save.",
            where=where,
        )
    if is_dangerous(module, name):
        raise contains_code(f"{module}.{name}", where)
    return Foreign(module, name)


def contains_code(name: str, where: str) -> UnsafeError:
    """Return the refusal of a pickle that names what runs code."""
    return UnsafeError(
        "RA-IN-040",
        f"The pickle contains code: {display_name(name)}.",
        hint="Nothing was executed. Do not load this file with anything else.",
        where=where,
    )


def is_harmless(origin: Foreign) -> bool:
    """Whether a foreign name is part of the furniture of a checkpoint and needs no warning."""
    root = origin.module.split(".")[0]
    if origin.module.startswith("torch.distributed."):
        return True
    return root in _FURNITURE or (origin.module, origin.name) == ("numpy", "ndarray")


def foreign_warning(names: dict[str, None]) -> list[str]:
    """Return one warning for the classes and functions that were not built, or none."""
    if not names:
        return []
    shown = ", ".join(display_name(name, longest=80) for name in list(names)[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return [f"objects of {len(names)} foreign classes were not built: {shown}{more}"]


_FURNITURE = {
    "builtins", "__builtin__", "collections", "copyreg", "copy_reg", "datetime", "pathlib", "decimal",
    "fractions", "enum", "argparse", "uuid", "array", "_codecs", "__torch__", "itertools",
}  # fmt: skip


def _from_type(function: object, kind: object, arguments: object, state: object = None, *_: object) -> object:
    if type(function) is Known and type(arguments) is tuple:
        built = function.build(*arguments)
        return distributed_tensor(built, kind, state) if type(built) is StoredTensor else built
    return Instance(function if type(function) is Foreign else None, arguments)


def _mapping(*arguments: object) -> dict[Any, Any]:
    """Imitate ``OrderedDict(pairs)`` and ``defaultdict(factory)``; old pickles have lists for pairs."""
    pairs = arguments[0] if len(arguments) == 1 and type(arguments[0]) in {list, tuple} else ()
    found: dict[Any, Any] = {}
    for pair in pairs:  # type: ignore[attr-defined]
        if type(pair) not in {list, tuple} or len(pair) != 2 or type(pair[0]) not in {str, int}:
            raise MalformedError("an OrderedDict of something other than pairs")
        found[pair[0]] = pair[1]
    return found


def _encode(text: object, encoding: object = "utf-8", *_: object) -> bytes:
    if type(text) is not str or encoding not in {"latin1", "latin-1", "utf-8", "ascii"}:
        raise MalformedError("codecs.encode of something other than text")
    return text.encode(str(encoding))


def _new_object(cls: object, *arguments: object) -> object:
    if type(cls) is Known:
        return cls.build(*arguments)
    return Instance(cls if type(cls) is Foreign else None, arguments)


def _known() -> dict[tuple[str, str], Known]:
    table: dict[tuple[str, str], Callable[..., object]] = {}
    rebuilders: dict[str, Callable[..., object]] = {
        "_rebuild_tensor": tensor,
        "_rebuild_tensor_v2": tensor,
        "_rebuild_tensor_v3": typed_tensor,
        "_rebuild_parameter": same,
        "_rebuild_parameter_with_state": same,
        "_rebuild_device_tensor_from_numpy": same,
        "_rebuild_device_tensor_from_cpu_tensor": same,
        "_rebuild_xla_tensor": same,
        "_rebuild_qtensor": quantised,
        "_rebuild_sparse_tensor": sparse,
        "_rebuild_sparse_csr_tensor": sparse,
        "_rebuild_nested_tensor": nested,
        "_rebuild_meta_tensor_no_storage": without_values("meta tensor: it has no values"),
        "_rebuild_wrapper_subclass": wrapper_subclass,
    }
    table.update({("torch._utils", name): build for name, build in rebuilders.items()})
    for module in ("torch._tensor", "torch.tensor"):
        table[module, "_rebuild_from_type"] = table[module, "_rebuild_from_type_v2"] = _from_type
    for module in ("torch.nn.parameter", "torch.nn"):
        table[module, "Parameter"] = table[module, "Buffer"] = same
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        table[module, "_reconstruct"] = lambda *_: NumpyArray()
        table[module, "scalar"] = lambda *_: None
    for module in ("numpy.core.numeric", "numpy._core.numeric"):
        table[module, "_frombuffer"] = array_of_buffer
    for name in (
        "build_intlist",
        "build_tensorlist",
        "build_doublelist",
        "build_boollist",
        "restore_type_tag",
    ):
        table["torch.jit._pickle", name] = same
    for module in ("copyreg", "copy_reg"):
        table[module, "_reconstructor"] = table[module, "__newobj__"] = _new_object
    table["collections", "OrderedDict"] = table["collections", "defaultdict"] = _mapping
    table["torch", "Size"] = lambda sizes=(): integers(sizes)
    table["torch", "device"] = lambda *_: None
    table["torch.serialization", "_get_layout"] = lambda *_: None
    table["numpy", "dtype"] = new_dtype
    table["_codecs", "encode"] = _encode
    return {names: Known(build) for names, build in table.items()}


_KNOWN: dict[tuple[str, str], object] = {
    **_known(),
    ("torch", "UntypedStorage"): StorageKind(None),
    ("torch.storage", "UntypedStorage"): StorageKind(None),
    ("torch.storage", "_UntypedStorage"): StorageKind(None),
}
