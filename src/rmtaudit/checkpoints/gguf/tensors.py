"""Tensors of a GGUF file: where each lies, checked against the others and the file, and how it is read."""

from __future__ import annotations

import math
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rmtaudit.checkpoints.gguf.codes import CODES, with_constant_codes
from rmtaudit.checkpoints.gguf.decode import EXTRA, WHAT, dequantised
from rmtaudit.checkpoints.gguf.header import Entry, Header, parse_header
from rmtaudit.checkpoints.gguf.roles import role_of
from rmtaudit.checkpoints.gguf.types import OWN_DECODER, REMOVED, TYPES, WITHOUT_DECODER, GgmlType
from rmtaudit.checkpoints.header import odd_names
from rmtaudit.checkpoints.levels import levels_of
from rmtaudit.checkpoints.optional import check_installed
from rmtaudit.checkpoints.single import FileCheckpoint
from rmtaudit.checkpoints.values import tensor_from_bytes
from rmtaudit.errors import CorruptError
from rmtaudit.matrices.adapter_scale import GGUF_ALPHA
from rmtaudit.matrices.tensors import Encoding, TensorSpec
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.base import Checkpoint
    from rmtaudit.checkpoints.files import FileSource
    from rmtaudit.checkpoints.levels import Levels


class _Place(msgspec.Struct, frozen=True):
    """Where the values of a tensor lie: byte of the file, type, and what they are multiplied by.

    ``scale`` is a tensor of one value, or of one for each matrix of a stack.
    """

    offset: int
    kind: GgmlType
    scale: tuple[TensorSpec, int] | None = None


def open_gguf(source: FileSource, format: str) -> Checkpoint:
    """Return the checkpoint of a file; the caller closes ``source`` if this raises an ``InputError``.

    Raises
    ------
    CorruptError, UnsafeError
        The header breaks a rule of the format (RA-IN-100 to RA-IN-118).
    InputError
        RA-IN-099: a type needs the package ``gguf``, which is not installed.
    """
    header = parse_header(source)
    layouts = _layouts(header, source.where)
    warnings = _check_cover(header, layouts, source)
    used = {layout.kind.name for layout in layouts.values() if layout.kind.dtype is None}
    if used - OWN_DECODER - WITHOUT_DECODER:
        check_installed("gguf", extra=EXTRA, what=WHAT, where=source.where)
    warnings += odd_names([entry.name for entry in header.entries])
    scales = {entry.name: entry for entry in header.entries if entry.name.endswith(".scale")}
    tensors = [_tensor(entry, layouts, scales, header) for entry in header.entries]
    checkpoint = _GgufCheckpoint(source, format, tensors, warnings)
    if GGUF_ALPHA in header.facts:
        checkpoint.metadata = {GGUF_ALPHA: header.facts[GGUF_ALPHA]}
    return checkpoint


class _GgufCheckpoint(FileCheckpoint):
    def read_band(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return a range of the first side of one tensor, reading no more than that if it is whole rows."""
        spec, place = self._readable(name)
        if len(spec.shape) == 1 and place.kind.block > 1:
            return self.read(name)[start:stop]
        return super().read_band(name, start, stop)

    def levels(self, name: str) -> Levels | None:
        """Return the levels of a quantised tensor; ``None`` for types whose codes stand for groups."""
        spec, place = self._readable(name)
        if place.kind.name not in CODES:
            return None
        data = self._source.pread(place.offset, _bytes(spec.shape, place.kind))

        def decode(code: int) -> torch.Tensor:
            constant = with_constant_codes(data, place.kind, code)
            return self._scaled(
                dequantised(constant, place.kind, spec.shape, self._source.where), spec, place
            )

        return levels_of(decode, CODES[place.kind.name].codes)

    def _values(self, spec: TensorSpec, place: Any) -> torch.Tensor:
        data = self._source.pread(place.offset, _bytes(spec.shape, place.kind))
        if place.kind.dtype is None:
            values = dequantised(data, place.kind, spec.shape, self._source.where)
        else:
            values = tensor_from_bytes(data, place.kind.dtype, spec.shape)
        return self._scaled(values, spec, place)

    def _scaled(self, values: torch.Tensor, spec: TensorSpec, place: Any) -> torch.Tensor:
        if place.scale is None:
            return values
        factor = tensor_from_bytes(
            self._source.pread(place.scale[1], place.scale[0].nbytes),
            place.scale[0].dtype,
            place.scale[0].shape,
        )
        shape = (-1, *(1 for _ in spec.shape[1:]))
        return values.float().mul_(factor.float().reshape(shape))

    def _place_of_band(self, spec: TensorSpec, place: Any, start: int, stop: int) -> Any:
        row = _bytes(spec.shape[1:], place.kind) if len(spec.shape) > 1 else place.kind.size
        scale = place.scale
        if scale is not None and scale[0].parameters > 1:
            some, offset = scale
            band = TensorSpec(name=some.name, shape=(stop - start,), dtype=some.dtype)
            scale = (band, offset + start * (some.nbytes // some.parameters))
        return replace(place, offset=place.offset + start * row, scale=scale)


class _Layout(msgspec.Struct, frozen=True):
    """What tensors of one type and one shape share: ``encoding`` is that of a weight without a scale."""

    kind: GgmlType
    size: int
    encoding: Encoding | None


Layouts = dict[tuple[int, tuple[int, ...]], _Layout]


def _layouts(header: Header, where: str) -> Layouts:
    """Return what is known of the tensors by their type and shape, of which there are few."""
    layouts: Layouts = {}
    for entry in header.entries:
        key = (entry.type, entry.shape)
        if key not in layouts:
            kind = _kind(entry, where)
            encoding = _encoding(kind) if kind.dtype is None else None
            layouts[key] = _Layout(kind, _bytes(entry.shape, kind), encoding)
    return layouts


def _encoding(kind: GgmlType, bits: float = 0.0, parts: tuple[str, ...] = ()) -> Encoding:
    """Return how a weight is stored; ``bits`` are those that a weight takes beside its type."""
    return Encoding(
        scheme=kind.name,
        dtype=kind.name,
        block=(1, kind.block) if kind.block > 1 else None,
        bits=kind.bits + bits,
        parts=parts,
    )


def _kind(entry: Entry, where: str) -> GgmlType:
    """Return the type of a tensor; its rows are whole blocks."""
    kind = TYPES.get(entry.type)
    if kind is None:
        old = REMOVED.get(entry.type)
        what = (
            f"({old}) was removed from ggml"
            if old
            else ("is unknown: it belongs to another program, or to a later ggml")
        )
        raise CorruptError(
            "RA-IN-111",
            f"Tensor '{display_name(entry.name)}': the type {entry.type} {what}.",
            hint="Quantise the model again with the current llama.cpp, or update rmtaudit.",
            where=where,
        )
    row = entry.shape[-1] if entry.shape else 1
    if row % kind.block:
        raise CorruptError(
            "RA-IN-112",
            f"Tensor '{display_name(entry.name)}': rows of {row} values are not whole blocks of "
            f"{kind.block} ({kind.name}).",
            where=where,
        )
    return kind


def _check_cover(header: Header, layouts: Layouts, source: FileSource) -> list[str]:
    """Check that tensors are aligned, apart from each other and inside the file. Returns warnings."""
    available = source.size - header.data_start
    reached, before, gaps = 0, "", 0
    past: tuple[Entry, int] | None = None
    for entry in sorted(header.entries, key=attrgetter("offset")):
        if entry.offset % header.alignment:
            raise CorruptError(
                "RA-IN-113",
                f"Tensor '{display_name(entry.name)}': the offset {entry.offset} is not a "
                f"multiple of {header.alignment}.",
                where=source.where,
            )
        length = layouts[entry.type, entry.shape].size
        if length and entry.offset < reached:
            raise CorruptError(
                "RA-IN-114",
                f"Tensor '{display_name(entry.name)}' begins at {entry.offset}, before "
                f"'{display_name(before)}' ends at {reached}: they overlap.",
                where=source.where,
            )
        gaps += entry.offset - reached >= header.alignment
        if length:
            reached, before = entry.offset + length, entry.name
        if past is None and entry.offset + length > max(available, 0):
            past = entry, entry.offset + length
    if past is not None:
        whole = header.data_start + reached
        percent = source.size * 100 // whole
        raise CorruptError(
            "RA-IN-115",
            f"Tensor '{display_name(past[0].name)}' ends at {header.data_start + past[1]}, past "
            f"the file; {source.size} of {whole} bytes; the file looks truncated ({percent}% "
            "present).",
            hint="Download it again.",
            where=source.where,
        )
    warnings = []
    if gaps:
        warnings.append(f"between {gaps} tensors and the ones before them lie bytes that belong to no tensor")
    if header.entries and available - reached >= header.alignment:
        at = header.data_start + reached
        warnings.append(f"{available - reached} bytes follow the last tensor, at position {at}")
    return warnings


def _tensor(
    entry: Entry, layouts: Layouts, scales: dict[str, Entry], header: Header
) -> tuple[TensorSpec, _Place]:
    """Return what is known of a tensor, and where it lies."""
    layout = layouts[entry.type, entry.shape]
    kind, encoding = layout.kind, layout.encoding
    scale, unreadable = _scale(entry, layouts, scales, header)
    if kind.name in WITHOUT_DECODER:
        unreadable = f"quantised ({kind.name}, a type of intermediate results)"
    if scale is not None:
        bits = 8 * scale[0].nbytes / max(1, math.prod(entry.shape))
        encoding = _encoding(kind, bits, (entry.name, scale[0].name))
    spec = TensorSpec(
        name=entry.name,
        shape=entry.shape,
        dtype=kind.dtype if kind.dtype and scale is None else "float32",
        role=role_of(entry.name, entry.shape, header.facts),
        encoding=encoding,
        unreadable=unreadable,
    )
    return spec, _Place(header.data_start + entry.offset, kind, scale)


def _scale(
    entry: Entry, layouts: Layouts, scales: dict[str, Entry], header: Header
) -> tuple[tuple[TensorSpec, int] | None, str | None]:
    """Return the factor that llama.cpp multiplies a weight by, and why the weight cannot be read without.

    It is the tensor ``blk.0.attn_q.scale`` of ``blk.0.attn_q.weight``: one value, or one for each expert.
    NVFP4 and BitNet have them.
    """
    if len(entry.shape) < 2 or not entry.name.endswith(".weight"):
        return None, None
    other, kind = None, layouts[entry.type, entry.shape].kind
    if scales:
        stem = entry.name.removesuffix(".weight")
        other = scales.get(f"{stem}.scale") or scales.get(f"{entry.name}.scale")
    if other is None:
        if kind.name == "NVFP4" and header.facts.get("split.count", 1) != 1:
            return None, "quantised (NVFP4, whose scale may lie in another part of the model)"
        return None, None
    dtype, values = layouts[other.type, other.shape].kind.dtype, math.prod(other.shape)
    each = len(entry.shape) == 3 and values == entry.shape[0]
    if dtype is None or "float" not in dtype or not (values == 1 or each):
        return None, f"quantised ({kind.name}, with {values} scales of an unknown order)"
    spec = TensorSpec(name=other.name, shape=(values,), dtype=dtype)
    return (spec, header.data_start + other.offset), None


def _bytes(shape: tuple[int, ...], kind: GgmlType) -> int:
    return math.prod(shape) // kind.block * kind.size
