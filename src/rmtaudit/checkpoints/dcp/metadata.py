"""``.metadata`` of a distributed checkpoint: a pickle, read without running anything.

torch itself reads it with a bare ``pickle.load``. The classes are those of
``torch/distributed/checkpoint/metadata.py`` and ``filesystem.py``; a name outside torch and the plain
containers is refused.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

from rmtaudit.checkpoints.distributed_tensors import attributes_of_instance
from rmtaudit.checkpoints.globals import is_harmless
from rmtaudit.checkpoints.inert import DType, Foreign, Instance
from rmtaudit.checkpoints.pickles import InertUnpickler
from rmtaudit.errors import CorruptError, UnsafeError
from rmtaudit.names import display_name

_ROOTS = ("torch", "megatron", "typing")
_LARGEST = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredChunk:
    """A chunk of a tensor: its box, and the range of a file that holds a ``torch.save`` of it."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    file: str
    start: int
    length: int
    transforms: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class ChunkedTensor:
    """A tensor of the metadata: torch's name of its dtype, its sizes, its chunks."""

    dtype: str
    shape: tuple[int, ...]
    chunks: list[StoredChunk] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderMetadata:
    """What ``.metadata`` says.

    Attributes
    ----------
    tensors
        By the flat name under which they were saved.
    paths
        The keys of the nested state dict that each flat name was made of, where they are known.
    objects
        Number of pickled objects that are no tensors.
    stacked
        Whether Megatron wrote it, which stacks the layers of a model along a side of their own.
    """

    tensors: dict[str, ChunkedTensor]
    paths: dict[str, tuple[str | int, ...]]
    objects: int
    stacked: bool


class _StrictUnpickler(InertUnpickler):
    """Refuses every name that has no business in the metadata of a distributed checkpoint."""

    def find_class(self, module: str, name: str) -> object:
        kind = super().find_class(module, name)
        if type(kind) is Foreign and module.split(".")[0] not in _ROOTS and not is_harmless(kind):
            raise UnsafeError(
                "RA-IN-190",
                f"The metadata names {display_name(f'{module}.{name}')}, which does not belong in it.",
                hint="Nothing was executed. Do not load this folder with anything else.",
                where=self.where,
            )
        return kind


def parse_metadata(data: bytes, where: str) -> FolderMetadata:
    """Return what the pickle describes.

    Raises
    ------
    UnsafeError
        It names something that runs code, or that is no part of such metadata.
    CorruptError
        It is not the metadata of a distributed checkpoint, or contradicts itself.
    """
    root = _StrictUnpickler(io.BytesIO(data), len(data), where).load()
    if type(root) is not Instance or root.origin is None or root.origin.name != "Metadata":
        raise _bad("it does not hold the Metadata of torch.distributed.checkpoint", where)
    attributes = attributes_of_instance(root)
    described, stored = attributes.get("state_dict_metadata"), attributes.get("storage_data")
    if type(described) is not dict or type(stored) is not dict:
        raise _bad("it lists no tensors or no storage", where)
    homes = _homes(stored, where)
    tensors: dict[str, ChunkedTensor] = {}
    objects = 0
    for name, item in described.items():
        if type(name) is not str:
            raise _bad("a tensor whose name is not text", where)
        if type(item) is Instance and item.origin is not None and item.origin.name == "TensorStorageMetadata":
            tensors[name] = _tensor(name, item, homes, where)
        else:
            objects += 1
    return FolderMetadata(
        tensors=tensors,
        paths=_paths(attributes.get("planner_data")),
        objects=objects,
        stacked="mcore_data" in attributes,
    )


Homes = dict[tuple[str, tuple[int, ...]], dict[str, Any]]


def _homes(stored: dict[Any, Any], where: str) -> Homes:
    """Return where each chunk is stored, by the name and the offsets of the chunk."""
    homes: Homes = {}
    for index, info in stored.items():
        key = attributes_of_instance(index)
        name, offset = key.get("fqn"), key.get("offset")
        if type(name) is not str:
            raise _bad("an entry of its storage has no name", where)
        if offset is None:
            continue  # an object that is no tensor
        place = (name, _integers(name, offset, where))
        if place in homes:
            raise _bad(f"a chunk of '{display_name(name)}' is stored twice", where)
        homes[place] = attributes_of_instance(info)
    return homes


def _tensor(name: str, item: Instance, homes: Homes, where: str) -> ChunkedTensor:
    attributes = attributes_of_instance(item)
    shape = _integers(name, attributes.get("size"), where)
    chunks = attributes.get("chunks")
    if type(chunks) is not list:
        raise _bad(f"tensor '{display_name(name)}' has no list of chunks", where)
    result = ChunkedTensor(dtype=_dtype(attributes.get("properties")), shape=shape)
    for chunk in chunks:
        box = attributes_of_instance(chunk)
        offsets, sizes = (_integers(name, box.get(key), where) for key in ("offsets", "sizes"))
        home = homes.get((name, offsets))
        if home is None:
            raise _bad(f"a chunk of '{display_name(name)}' is described but not stored", where)
        file, start, length = (home.get(key) for key in ("relative_path", "offset", "length"))
        transforms = home.get("transform_descriptors")
        if type(file) is not str or type(start) is not int or type(length) is not int:
            raise _bad(f"a chunk of '{display_name(name)}' has no file, start or length", where)
        result.chunks.append(
            StoredChunk(
                offsets=offsets,
                sizes=sizes,
                file=file,
                start=start,
                length=length,
                transforms=tuple(map(str, transforms)) if isinstance(transforms, list | tuple) else (),
            )
        )
    return result


def _dtype(properties: object) -> str:
    """Return torch's name of the dtype in the state of a ``TensorProperties``."""
    if type(properties) is Instance:
        for state in properties.states:
            if type(state) is tuple and state and type(state[0]) is DType:
                return state[0].name
        stated = attributes_of_instance(properties).get("dtype")
        if type(stated) is DType:
            return stated.name
    return "unknown"


def _integers(name: str, values: object, where: str) -> tuple[int, ...]:
    if type(values) not in {tuple, list} or not all(
        type(value) is int and 0 <= value < _LARGEST
        for value in values  # type: ignore[attr-defined]
    ):
        raise _bad(f"sizes or offsets of '{display_name(name)}' are not integers from 0", where)
    return tuple(values)  # type: ignore[arg-type]


def _paths(planned: object) -> dict[str, tuple[str | int, ...]]:
    """Return the keys that each flat name was made of, where the planner of torch wrote them."""
    if type(planned) is not dict:
        return {}
    return {
        name: path
        for name, path in planned.items()
        if type(name) is str and type(path) is tuple and path and all(type(key) in {str, int} for key in path)
    }


def _bad(fault: str, where: str) -> CorruptError:
    return CorruptError("RA-IN-189", f"The metadata is damaged: {fault}.", where=where)
