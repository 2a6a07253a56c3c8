"""All datasets of an HDF5 file."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.hdf5.attributes import texts
from rmtaudit.checkpoints.hdf5.datatypes import Datatype, dataspace, datatype
from rmtaudit.checkpoints.hdf5.groups import links
from rmtaudit.checkpoints.hdf5.messages import Kind, Message, messages, root_address
from rmtaudit.checkpoints.hdf5.span import UNDEFINED, Window
from rmtaudit.checkpoints.hdf5.storage import Chunks, NotStoredError, chunked, filters
from rmtaudit.errors import UnsafeError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

MAGIC = b"\x89HDF\r\n\x1a\n"
"""The first bytes of a file without a user block."""

OBJECTS_CAP = 1_000_000
"""Most groups and datasets of a file."""

_DEPTH_CAP = 100
_WANTED = frozenset({"model_config", "keras_version", "name", "dtype"})
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset and where its values are.

    Attributes
    ----------
    path
        Names of the groups that it is in, and its own.
    shape, kind
        Sizes and datatype.
    address
        Of its object header: equal for two names of one dataset.
    offset
        Position in the file of its values, where they lie in one run.
    chunks
        Its chunks, where there are any.
    inline
        Its values, where they are in its header.
    problem
        Why its values cannot be read; ``""`` if they can.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    kind: Datatype
    address: int
    offset: int | None = None
    chunks: Chunks | None = None
    inline: bytes | None = None
    problem: str = ""


@dataclass(slots=True)
class Tree:
    """What a file holds: datasets in natural order, texts that are attributes of groups, warnings."""

    datasets: list[Dataset] = field(default_factory=list)
    texts: dict[tuple[str, ...], Mapping[str, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def read_tree(window: Window) -> Tree:
    """Return what the file holds.

    Raises
    ------
    CorruptError
        A structure is damaged.
    UnsafeError
        Something lies in another file, or there is more than a checkpoint has.
    InputError
        A structure is not read.
    """
    tree = Tree()
    groups = {root := root_address(window)}
    waiting: list[tuple[tuple[str, ...], int]] = [((), root)]
    count = 0
    while waiting:
        path, address = waiting.pop()
        count += 1
        if count > OBJECTS_CAP or len(path) > _DEPTH_CAP:
            raise UnsafeError(
                "RA-IN-142",
                f"The file has more than {OBJECTS_CAP} objects, or groups nested more than "
                f"{_DEPTH_CAP} deep.",
                where=window.source.where,
            )
        parts = messages(window, address)
        held = links(window, parts)
        if held is None:
            tree.datasets.extend(_dataset(window, path, address, parts))
            continue
        if address in groups and path:
            tree.warnings.append(f"the group '{display_name('/'.join(path))}' also occurs under another name")
            continue
        groups.add(address)
        attributes = texts(window, parts, _WANTED)
        if attributes:
            tree.texts[path] = attributes
        for name in held.soft:
            full = display_name("/".join((*path, name)))
            tree.warnings.append(f"the symbolic link '{full}' was not followed")
        ordered = sorted(held.hard, key=_natural, reverse=True)
        waiting.extend(((*path, name), held.hard[name]) for name in ordered)
    return tree


def values(window: Window, dataset: Dataset) -> torch.Tensor:
    """Return the values of a dataset without a problem that do not lie in one run: CPU, contiguous."""
    from rmtaudit.checkpoints.hdf5.chunks import assemble
    from rmtaudit.checkpoints.values import tensor_from_bytes

    if dataset.chunks is not None:
        return assemble(window, dataset.chunks, dataset.kind, dataset.shape)
    data = bytearray(dataset.inline or b"")
    return tensor_from_bytes(data, dataset.kind.dtype, dataset.shape, big_endian=dataset.kind.big_endian)


def _natural(name: str) -> list[tuple[int, str]]:
    return [
        (int(part) if index % 2 and len(part) < 19 else -1, part)
        for index, part in enumerate(_DIGITS.split(name))
    ]


def _dataset(window: Window, path: tuple[str, ...], address: int, parts: list[Message]) -> Iterator[Dataset]:
    """Yield the dataset with these messages; nothing for a committed datatype or a null dataspace."""
    by_kind = {part.kind: part for part in parts}
    name = display_name("/".join(path))
    if Kind.EXTERNAL in by_kind:
        window.unsafe(f"the values of '{name}' are in another file (external storage)")
    if not {Kind.DATASPACE, Kind.DATATYPE, Kind.LAYOUT} <= by_kind.keys():
        return
    shape = dataspace(window, by_kind[Kind.DATASPACE].data)
    if shape is None:
        return
    if by_kind[Kind.DATATYPE].shared:
        kind = Datatype(dtype="uint8", size=1, problem="values of a named datatype")
    else:
        kind = datatype(window, by_kind[Kind.DATATYPE].data)
    if kind.opaque and kind.size == 2 and texts(window, parts, _WANTED).get("dtype") == "bfloat16":
        kind = Datatype(dtype="bfloat16", size=2)
    dataset = Dataset(path=path, shape=shape, kind=kind, address=address, problem=kind.problem)
    try:
        yield _located(window, dataset, by_kind)
    except NotStoredError as error:
        yield replace(dataset, problem=dataset.problem or str(error))


def _located(window: Window, dataset: Dataset, by_kind: Mapping[int, Message]) -> Dataset:
    name = display_name("/".join(dataset.path))
    layout = by_kind[Kind.LAYOUT].data
    if len(layout) < 2 or layout[0] not in {3, 4, 5}:
        raise NotStoredError("stored in a layout that rmtaudit does not read; copy the file with h5repack")
    if layout[1] == 3:
        window.unsafe(f"the values of '{name}' may be in other files (virtual dataset)")
    nbytes = math.prod(dataset.shape) * dataset.kind.size
    if dataset.problem or not nbytes:
        return replace(dataset, inline=b"")
    if layout[1] == 0:
        size = int.from_bytes(layout[2:4], "little")
        if size != nbytes or len(layout) < 4 + size:
            window.corrupt(f"'{name}' has {size} bytes in its header, but its shape needs {nbytes}")
        return replace(dataset, inline=layout[4 : 4 + size])
    if layout[1] == 1:
        if len(layout) < 18:
            window.corrupt(f"'{name}' has no address")
        address, size = struct.unpack_from("<2Q", layout, 2)
        if address == UNDEFINED:
            raise NotStoredError("its values were never written")
        if size != nbytes:
            window.corrupt(f"'{name}' has {size} bytes, but its shape needs {nbytes}")
        return replace(dataset, offset=window.locate(address, size, f"'{name}'"))
    if layout[1] != 2:
        window.corrupt(f"'{name}' has a layout of class {layout[1]}")
    used = filters(window, by_kind[Kind.FILTERS].data) if Kind.FILTERS in by_kind else ()
    return replace(dataset, chunks=chunked(window, layout, used, dataset.shape, dataset.kind.size))
