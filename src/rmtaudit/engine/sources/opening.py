"""From the words of a command line to a matrix source.

``PATH`` or ``PATH::NAME``; two of them with `` @ `` between are a product. What a path is, is decided by its
content, never by its ending alone; what cannot be decided is an error that names the option which decides it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.files import FileSource
from rmtaudit.engine.sources import plugins
from rmtaudit.engine.sources.archives import open_npz, open_zarr
from rmtaudit.engine.sources.matrix_market import open_mtx
from rmtaudit.engine.sources.options import SourceOptions, View, check_options
from rmtaudit.engine.sources.recognise import Kind, has_plugins, is_ours, kind_of
from rmtaudit.engine.sources.texts import read_edges, read_points
from rmtaudit.engine.sources.words import choose, no_name, printed, split_name
from rmtaudit.errors import UsageError
from rmtaudit.matrices.sources import (
    FileMatrix,
    Gram,
    Laplacian,
    Layout,
    MaternMatrix,
    MatrixSource,
    Product,
    Shifted,
    TensorSource,
    npy_layout,
)
from rmtaudit.matrices.tensors import ITEMSIZE
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

_SHAPE = re.compile(r"([0-9]{1,15})(?:\s*[x×,]\s*([0-9]{1,15}))?")


def open_source(text: str | Path, options: SourceOptions | None = None) -> MatrixSource:
    """Open the matrix that a command line names.

    Parameters
    ----------
    text
        ``kernel.npy``, ``arrays.npz::K``, ``sparse.npz``, ``matrix.mtx``, ``folder.zarr``, ``group.zarr::K``,
        ``model.safetensors::layer.name``, ``points.npy`` with ``kernel``, ``edges.csv`` with ``laplacian``, a
        raw file with ``dtype`` and ``shape``; ``A @ B`` is a product. What names no file, or one of a format
        that is not known, is shown to the openers of plugins (group ``rmtaudit.sources``).
    options
        What a path cannot say of itself.

    Returns
    -------
    MatrixSource
        To be closed by the caller.

    Raises
    ------
    InputError
        It cannot be read, or breaks its format.
    UsageError
        The words do not decide what the matrix is, or contradict each other.
    """
    chosen = options or SourceOptions()
    words = str(text)
    with ExitStack() as opened:
        parts = [part for part in words.split(" @ ") if part.strip()]
        if " @ " in words and len(parts) < 2:
            raise UsageError("RA-MS-030", "A product needs a matrix on either side of ' @ '.")
        sources = []
        for part in parts or [words]:
            source = _open_one(part.strip() if len(parts) > 1 else part, chosen)
            opened.callback(source.close)
            sources.append(source)
        source = sources[0]
        for other in sources[1:]:
            source = Product(source, other)
        if chosen.shift:
            source = Shifted(source, chosen.shift)
        opened.pop_all()
        return source


def _open_one(text: str, options: SourceOptions) -> MatrixSource:
    path, name = split_name(text)
    check_options(options)
    if options.kernel is not None:
        return _kernel(path, name, options)
    if options.laplacian is not None:
        return Laplacian(read_edges(path), options.laplacian, printed(path))
    if options.dtype is not None or options.shape is not None:
        return _viewed(_raw(path, options), options)
    if has_plugins() and not is_ours(path):
        made = plugins.plugin_source(text, options.symmetric)
        if made is not None:
            return _viewed(made, options)
    opener, layer = _opener(path)
    source = opener(path, name, options)
    view = options.view
    if view == "auto" and layer:
        view = "wtw" if source.shape[0] >= source.shape[1] else "wwt"
    return _viewed(source, options, view)


def _viewed(source: MatrixSource, options: SourceOptions, view: View | None = None) -> MatrixSource:
    match view or options.view:
        case "wtw":
            return Gram(source, "columns")
        case "wwt":
            return Gram(source, "rows")
        case _:
            return source


Open = Callable[[Path, str, SourceOptions], MatrixSource]


def _opener(path: Path) -> tuple[Open, bool]:
    """Return what opens a path, and whether it is a checkpoint, whose matrices are layers."""
    match kind_of(path):
        case Kind.ZARR:
            return lambda at, name, options: open_zarr(at, name, options.symmetric), False
        case Kind.NPY:
            return _npy, False
        case Kind.MATRIX_MARKET:
            return lambda at, name, options: open_mtx(at, name, options.symmetric), False
        case Kind.NPZ:
            return lambda at, name, options: open_npz(at, name, options.symmetric), False
        case Kind.CHECKPOINT:
            return _layer, True


def _npy(path: Path, name: str, options: SourceOptions) -> MatrixSource:
    no_name(path, name)
    with _guarded(path) as (file, keep):
        layout = npy_layout(file, printed(path))
        return keep(FileMatrix(file, layout, printed(path), symmetric=options.symmetric))


def _raw(path: Path, options: SourceOptions) -> MatrixSource:
    if options.dtype is None or options.shape is None:
        raise UsageError("RA-MS-032", "Raw numbers need both --dtype and --shape.", where=printed(path))
    match = _SHAPE.fullmatch(options.shape.strip())
    if match is None:
        raise UsageError("RA-MS-032", f"{display_name(options.shape)!r} is not a shape.", hint="8192x8192")
    rows, cols = int(match[1]), int(match[2] or match[1])
    with _guarded(path) as (file, keep):
        source = FileMatrix(
            file,
            Layout(offset=0, shape=(rows, cols), dtype=options.dtype),
            printed(path),
            symmetric=options.symmetric,
        )
        spare = file.size - rows * cols * ITEMSIZE[options.dtype]
        if spare:
            raise UsageError(
                "RA-MS-032",
                f"The file has {spare:,} bytes more than {rows} x {cols} numbers of {options.dtype}.",
                where=printed(path),
            )
        return keep(source)


def _layer(path: Path, name: str, options: SourceOptions) -> MatrixSource:
    from rmtaudit.matrices.plan import plan_layers

    with open_checkpoint(path) as checkpoint:
        plan = plan_layers(
            checkpoint.tensors, config=checkpoint.config, adapter_config=checkpoint.adapter_config
        )
        layers = {layer.name: layer for layer in plan.layers}
        skipped = {row.spec.name: row.reason for row in plan.skipped}
        if name in skipped and name not in layers:
            raise UsageError(
                "RA-MS-034",
                f"The tensor '{display_name(name)}' is not a weight matrix: {skipped[name]}.",
                where=printed(path),
            )
        layer = layers[choose(name, list(layers), printed(path), "layer")]
        if layer.band is not None:
            stored = [checkpoint.read_band(tensor, *layer.band) for tensor in layer.tensors]
        else:
            stored = [checkpoint.read(tensor) for tensor in layer.tensors]
        (matrix,) = layer.build(tuple(_wide(tensor) for tensor in stored))
    source = TensorSource(matrix, f"'{display_name(layer.name)}'", symmetric=options.symmetric)
    source.dtype = layer.dtype
    return source


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    return tensor.to(torch.float64)


def _kernel(path: Path, name: str, options: SourceOptions) -> MatrixSource:
    no_name(path, name)
    if options.length is None:
        raise UsageError("RA-MS-020", "A kernel needs a length scale.", hint="Add --length L.")
    nu = math.inf if options.kernel == "rbf" else options.nu
    return MaternMatrix(read_points(path), nu=nu, length=options.length, name=printed(path))


class _guarded:  # noqa: N801  # reads as a function
    """Open a file; it stays open where a source has been made of it, and is closed where that failed."""

    def __init__(self, path: Path) -> None:
        self._file = FileSource(path)
        self._kept = False

    def __enter__(self) -> tuple[FileSource, Callable[[MatrixSource], MatrixSource]]:
        return self._file, self._keep

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            self._file.abandon()

    def _keep(self, source: MatrixSource) -> MatrixSource:
        self._kept = True
        return source
