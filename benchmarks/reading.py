"""How long files are read, beside the library of their format: every value, and nothing computed of them.

    OMP_NUM_THREADS=1 python benchmarks/reading.py FOLDER [--repeat 20]

Needs ``onnx`` and ``tflite``. Both sides are called in turn in one process, after one call that imports what
they need, and the shortest times of the processor are shown. The libraries return what the file stores;
rmtaudit also traces every constant to the operators that take it, and dequantises codes.
"""

from __future__ import annotations

import argparse
import io
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tflite
import torch
from onnx import numpy_helper
from safetensors.torch import load_file

from rmtaudit.checkpoints import open_checkpoint

HEAD = "| file | rmtaudit, ms | its library, ms | ratio |\n|---|---:|---:|---:|"


def read(path: Path) -> None:
    """Read every value with rmtaudit."""
    with open_checkpoint(path) as checkpoint:
        for spec in checkpoint.tensors:
            if spec.unreadable is None:
                checkpoint.read(spec.name)


def read_onnx(path: Path) -> None:
    """Read every tensor of a model with ``onnx``."""
    for tensor in _tensors(onnx.load(path).graph):
        numpy_helper.to_array(tensor)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        if attribute.HasField("g"):
            yield from _tensors(attribute.g)
        for body in attribute.graphs:
            yield from _tensors(body)


def read_tflite(path: Path) -> None:
    """Read every tensor of a model, and its scales, with ``tflite``."""
    model = tflite.Model.GetRootAs(path.read_bytes(), 0)
    for graph in (model.Subgraphs(index) for index in range(model.SubgraphsLength())):
        for tensor in (graph.Tensors(index) for index in range(graph.TensorsLength())):
            tensor.ShapeAsNumpy()
            tensor.Name()
            quantisation = tensor.Quantization()
            if quantisation is not None:
                quantisation.ScaleAsNumpy()
                quantisation.ZeroPointAsNumpy()
            data = model.Buffers(tensor.Buffer()).DataAsNumpy()
            if not isinstance(data, int):
                np.array(data)


def read_zip(path: Path) -> None:
    """Read the files of PyTorch in an archive with ``torch``."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".pth"):
                torch.load(io.BytesIO(archive.read(name)), weights_only=True, map_location="cpu")


def read_safetensors(path: Path) -> None:
    """Read every tensor with ``safetensors``, which maps the file, and copy it."""
    for tensor in load_file(path).values():
        tensor.clone()


LIBRARIES: dict[str, Callable[[Path], None]] = {
    ".onnx": read_onnx,
    ".tflite": read_tflite,
    ".zip": read_zip,
    ".safetensors": read_safetensors,
}


def shortest(path: Path, repeat: int) -> tuple[float, float]:
    """Return the shortest times of rmtaudit and of the library in milliseconds."""
    library = LIBRARIES[path.suffix]
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeat + 1):
        for call, spent in zip((read, library), times, strict=True):
            started = time.process_time()
            call(path)
            if turn:
                spent.append(1e3 * (time.process_time() - started))
    return min(times[0]), min(times[1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeat", type=int, default=20, help="calls of each side")
    options = parser.parse_args()
    print(HEAD)
    for path in sorted(options.folder.rglob("*")):
        if path.suffix not in LIBRARIES or path.stat().st_size > 1 << 26:
            continue
        try:
            ours, library = shortest(path, options.repeat)
        except Exception as error:  # broken on purpose: which side refuses it is no matter here
            print(f"| {path.relative_to(options.folder)} | {type(error).__name__} | | |")
            continue
        print(
            f"| {path.relative_to(options.folder)} | {ours:.1f} | {library:.1f} | {ours / library:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
