"""The safetensors format: eight bytes of header length, a JSON header, then the values without gaps.

The rules are those of the reference implementation (``safetensors`` 0.8, ``tensor.rs``) and, where it is
laxer than its own specification, of the specification: no duplicate key, and ``{`` as the first byte of
the header.
"""

from __future__ import annotations

import math
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.base import Contents, Reader
from rmtaudit.checkpoints.header import parse_header
from rmtaudit.checkpoints.members import open_source
from rmtaudit.checkpoints.single import FileCheckpoint
from rmtaudit.checkpoints.values import tensor_from_bytes
from rmtaudit.errors import CorruptError
from rmtaudit.matrices.tensors import TensorSpec
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from typing import Any

    import torch

    from rmtaudit.checkpoints.files import FileSource
    from rmtaudit.checkpoints.header import Entry

HEADER_CAP = 100_000_000
"""Largest header in bytes, as in the reference implementation."""

DIMENSIONS_CAP = 64
"""Most dimensions of a tensor that can be read (torch's own limit)."""

DTYPES = {
    "F64": ("float64", 64), "F32": ("float32", 32), "F16": ("float16", 16), "BF16": ("bfloat16", 16),
    "F8_E4M3": ("float8_e4m3fn", 8), "F8_E5M2": ("float8_e5m2", 8), "F8_E8M0": ("float8_e8m0fnu", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8), "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "F6_E2M3": ("float6_e2m3fn", 6), "F6_E3M2": ("float6_e3m2fn", 6), "F4": ("float4_e2m1fn", 4),
    "I64": ("int64", 64), "I32": ("int32", 32), "I16": ("int16", 16), "I8": ("int8", 8),
    "U64": ("uint64", 64), "U32": ("uint32", 32), "U16": ("uint16", 16), "U8": ("uint8", 8),
    "BOOL": ("bool", 8), "C64": ("complex64", 64),
}  # fmt: skip
"""torch's name and the bits an element, by the name in the header."""


class SafetensorsReader(Reader):
    """Reads ``.safetensors`` files."""

    name = "safetensors"
    extensions = (".safetensors",)
    place = 0
    in_archives = True
    strict = True

    def recognises(self, contents: Contents) -> bool:
        """Whether the ninth byte opens a JSON object and the first eight are not text."""
        head = contents.head
        return head[8:9] == b"{" and not all(0x20 <= byte < 0x7F or byte in b"\t\r\n" for byte in head[:8])

    def open(self, path: Path) -> SafetensorsCheckpoint:
        """Open a file; its header is checked in full (see :meth:`Reader.open`)."""
        source = open_source(path)
        try:
            header, data_start = _header(source)
            parsed = parse_header(header, source.where)
            tensors = _tensors(parsed.entries, source, data_start)
            _check_cover(parsed.entries, source, data_start)
        except BaseException:
            source.abandon()
            raise
        checkpoint = SafetensorsCheckpoint(source, self.name, tensors, parsed.warnings)
        checkpoint.metadata = parsed.metadata
        return checkpoint


class SafetensorsCheckpoint(FileCheckpoint):
    """A safetensors file; ``metadata`` is the ``__metadata__`` of its header."""

    def _values(self, spec: TensorSpec, place: Any) -> torch.Tensor:
        return tensor_from_bytes(self._source.pread(place, spec.nbytes), spec.dtype, spec.shape)

    def position(self, name: str) -> tuple[str, int] | None:
        """Return the file and where a tensor begins in it (see :meth:`Checkpoint.position`)."""
        return self._source.where, self._places[name][1]

    def _place_of_band(self, spec: TensorSpec, place: Any, start: int, stop: int) -> Any:
        del stop
        return place + start * (spec.nbytes // spec.shape[0])


def _header(source: FileSource) -> tuple[bytes, int]:
    """Return the bytes of the header and the position where the values start."""
    if source.size < 8:
        raise CorruptError(
            "RA-IN-020",
            f"The file has {source.size} bytes; a safetensors file has at least 8.",
            hint="Download it again.",
            where=source.where,
        )
    length = int.from_bytes(source.pread(0, 8), "little")
    if length > HEADER_CAP:
        raise CorruptError(
            "RA-IN-021",
            f"The first 8 bytes announce a header of {length} bytes; at most {HEADER_CAP} are allowed.",
            hint="This is not a safetensors file, or it is damaged.",
            where=source.where,
        )
    if length > source.size - 8:
        raise CorruptError(
            "RA-IN-022",
            f"The header has {length} bytes and ends past the file; {source.size} of at least "
            f"{length + 8} bytes; the file looks truncated ({_percent(source.size, length + 8)} "
            "present).",
            hint="Download it again.",
            where=source.where,
        )
    if length < 2:
        raise CorruptError(
            "RA-IN-023", f"A header of {length} bytes cannot be a JSON object.", where=source.where
        )
    return bytes(source.pread(8, length)), 8 + length


def _tensors(entries: list[Entry], source: FileSource, data_start: int) -> list[tuple[TensorSpec, int]]:
    """Return what is known of each tensor, and the byte of the file where it begins."""
    kinds: dict[tuple[str, tuple[int, ...]], tuple[str, int, str | None]] = {}
    tensors = []
    for entry in entries:
        key = (entry.dtype, entry.shape)
        kind = kinds.get(key)
        if kind is None:
            kind = kinds[key] = _kind(entry, source)
        dtype, needed, unreadable = kind
        if needed != entry.end - entry.begin:
            raise _wrong_size(entry, needed, 0, source)
        spec = TensorSpec(name=entry.name, shape=entry.shape, dtype=dtype, unreadable=unreadable)
        tensors.append((spec, entry.begin + data_start))
    return tensors


def _kind(entry: Entry, source: FileSource) -> tuple[str, int, str | None]:
    """Return torch's name of the dtype of an entry, the bytes of its values, and why it cannot be read."""
    known = DTYPES.get(entry.dtype)
    if known is None:
        raise CorruptError(
            "RA-IN-031",
            f"Tensor '{display_name(entry.name)}': unknown dtype '{display_name(entry.dtype)}'.",
            where=source.where,
        )
    dtype, bits = known
    needed, rest = divmod(math.prod(entry.shape) * bits, 8)
    if rest:
        raise _wrong_size(entry, needed, rest, source)
    if bits < 8:
        return dtype, needed, f"sub-byte dtype {entry.dtype}"
    if len(entry.shape) > DIMENSIONS_CAP:
        reason = f"{len(entry.shape)} dimensions, more than the {DIMENSIONS_CAP} that torch supports"
        return dtype, needed, reason
    return dtype, needed, None


def _wrong_size(entry: Entry, needed: int, rest: int, source: FileSource) -> CorruptError:
    fraction = f" and {rest} bits" if rest else ""
    return CorruptError(
        "RA-IN-032",
        f"Tensor '{display_name(entry.name)}': {entry.dtype} of shape {_shape(entry.shape)} takes "
        f"{needed} bytes{fraction}, but data_offsets span {entry.end - entry.begin}.",
        where=source.where,
    )


def _check_cover(entries: list[Entry], source: FileSource, data_start: int) -> None:
    """Check that the ranges follow each other without hole or overlap and end where the file does."""
    available = source.size - data_start
    reached, past = 0, None
    ordered = sorted(entries, key=attrgetter("begin", "end"))
    ends = [entry.end for entry in ordered]
    if [entry.begin for entry in ordered] == [0, *ends[:-1]] and ends[-1] == available:
        return  # as in every file that is whole; the loop finds what is wrong with another
    for entry in ordered:
        if entry.begin != reached:
            fault = "leave a hole" if entry.begin > reached else "overlap"
            raise CorruptError(
                "RA-IN-033",
                f"Tensor '{display_name(entry.name)}': data_offsets begin at {entry.begin}, the "
                f"tensor before it ends at {reached}: the ranges {fault}.",
                where=source.where,
            )
        reached = entry.end
        if past is None and reached > available:
            past = entry
    if past is not None:
        whole = data_start + reached
        raise CorruptError(
            "RA-IN-034",
            f"Tensor '{display_name(past.name)}': data_offsets end {past.end} is past the data "
            f"buffer ({available} bytes); {source.size} of {whole} bytes; the file looks "
            f"truncated ({_percent(source.size, whole)} present).",
            hint="Download it again.",
            where=source.where,
        )
    if reached < available:
        raise CorruptError(
            "RA-IN-035",
            f"{available - reached} bytes follow the last tensor, at position {data_start + reached}.",
            hint="Something was appended to the file; do not trust it.",
            where=source.where,
        )


def _percent(part: int, whole: int) -> str:
    percent = part * 100 // whole
    return f"{percent}%" if percent else "less than 1%"


def _shape(shape: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, shape[:8]))
    return f"[{shown}, …]" if len(shape) > 8 else f"[{shown}]"
