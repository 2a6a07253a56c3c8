"""Equal weights give equal reports, whatever the container."""

from __future__ import annotations

import importlib.util
import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import rmtaudit
from rmtaudit.report.model import LayerResult

FUZZ = Path(__file__).parents[2] / "fuzz"

Weights = dict[str, torch.Tensor]


def load(name: str) -> Any:
    """Return a module of the fuzz targets, which write files without the libraries of their formats."""
    spec = importlib.util.spec_from_file_location(name, FUZZ / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Network(torch.nn.Module):
    """Two dense layers and a convolution, of shapes that tell their matrices apart."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(5, 40, 3)
        self.first = torch.nn.Linear(64, 96)
        self.second = torch.nn.Linear(96, 80)

    def forward(self, image: torch.Tensor, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.conv(image), self.second(self.first(row).relu())


@pytest.fixture(scope="module")
def weights() -> Weights:
    """Return weights with a few strong directions, so that every analyzer has something to say."""
    generator = torch.Generator().manual_seed(11)
    state = Network().state_dict()
    for name, value in state.items():
        noise = torch.randn(value.shape, generator=generator)
        if value.dim() > 1:
            flat = noise.reshape(len(noise), -1)
            column = torch.randn(len(flat), 3, generator=generator)
            flat += column @ torch.randn(3, flat.shape[1], generator=generator)
        state[name] = noise * 0.1
    return state


def sharded(weights: Weights, folder: Path) -> Path:
    names = sorted(weights)
    files = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, inside in files.items():
        save_file({name: weights[name] for name in inside}, folder / file)
    index = {"weight_map": {name: file for file, inside in files.items() for name in inside}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def safetensors(weights: Weights, folder: Path) -> Path:
    save_file(weights, folder / "model.safetensors")
    return folder / "model.safetensors"


def torch_zip(weights: Weights, folder: Path) -> Path:
    torch.save(weights, folder / "model.pt")
    return folder / "model.pt"


def torch_legacy(weights: Weights, folder: Path) -> Path:
    torch.save(weights, folder / "model.pt", _use_new_zipfile_serialization=False)
    return folder / "model.pt"


def zipped(weights: Weights, folder: Path) -> Path:
    with zipfile.ZipFile(folder / "policy.zip", "w") as archive:
        buffer = io.BytesIO()
        torch.save(weights, buffer)
        archive.writestr("policy.pth", buffer.getvalue())
    return folder / "policy.zip"


def npz(weights: Weights, folder: Path) -> Path:
    arrays: dict[str, Any] = {name: value.numpy() for name, value in weights.items()}
    np.savez(folder / "model.npz", **arrays)
    return folder / "model.npz"


def gguf(weights: Weights, folder: Path) -> Path:
    package = pytest.importorskip("gguf")
    writer = package.GGUFWriter(folder / "model.gguf", "llama")
    for name, value in weights.items():
        writer.add_tensor(name, value.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "model.gguf"


def onnx(weights: Weights, folder: Path) -> Path:
    package = pytest.importorskip("onnx")
    helper, to_onnx = package.helper, package.numpy_helper.from_array
    arrays = {name: value.numpy() for name, value in weights.items()}
    arrays["first.weight"] = np.ascontiguousarray(
        arrays["first.weight"].T
    )  # what an exporter makes of MatMul
    nodes = [
        helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["c"]),
        helper.make_node("MatMul", ["row", "first.weight"], ["m"]),
        helper.make_node("Add", ["m", "first.bias"], ["a"]),
        helper.make_node("Gemm", ["a", "second.weight", "second.bias"], ["g"], transB=1),
    ]
    values = [helper.make_tensor_value_info(name, 1, None) for name in ("image", "row", "c", "g")]
    graph = helper.make_graph(
        nodes, "g", values[:2], values[2:], [to_onnx(value, name) for name, value in arrays.items()]
    )
    package.save(helper.make_model(graph), folder / "model.onnx")
    return folder / "model.onnx"


def _keras(weights: Weights) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    arrays = {
        "conv/conv/kernel:0": weights["conv.weight"].permute(2, 3, 1, 0),
        "first/first/kernel:0": weights["first.weight"].T,
        "second/second/kernel:0": weights["second.weight"].T,
        **{f"{name}/{name}/bias:0": weights[f"{name}.bias"] for name in ("conv", "first", "second")},
    }
    kinds = {"conv": "Conv2D", "first": "Dense", "second": "Dense"}
    layers = [{"class_name": kind, "config": {"name": name}} for name, kind in kinds.items()]
    config = {"class_name": "Functional", "config": {"name": "m", "layers": layers}}
    return {name: value.contiguous().numpy() for name, value in arrays.items()}, config


def keras_h5(weights: Weights, folder: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    arrays, config = _keras(weights)
    with h5py.File(folder / "model.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        for name, values in arrays.items():
            file.create_dataset(f"model_weights/{name}", data=values)
    return folder / "model.h5"


def keras_archive(weights: Weights, folder: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    arrays, config = _keras(weights)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, values in arrays.items():
            layer, _, leaf = name.split("/")
            place = 0 if leaf.startswith("kernel") else 1
            file.create_dataset(f"layers/{layer}/vars/{place}", data=values)
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", buffer.getvalue())
    return folder / "model.keras"


def flax(weights: Weights, folder: Path) -> Path:
    arrays, _ = _keras(weights)
    tree: dict[str, dict[str, Any]] = {}
    for name, values in arrays.items():
        layer, _, leaf = name.split("/")
        tree.setdefault(layer, {})[leaf.removesuffix(":0")] = values
    (folder / "model.msgpack").write_bytes(load("fuzz_flax").pack({"params": tree}))
    return folder / "model.msgpack"


def distributed(weights: Weights, folder: Path) -> Path:
    from torch.distributed.checkpoint.state_dict_saver import save

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is only one process
        save(dict(weights), checkpoint_id=folder / "checkpoint")
    return folder / "checkpoint"


def torch_export(weights: Weights, folder: Path) -> Path:
    network = Network()
    network.load_state_dict(weights)
    program = torch.export.export(network, (torch.zeros(1, 5, 8, 8), torch.zeros(2, 64)))
    torch.export.save(program, folder / "model.pt2")
    return folder / "model.pt2"


def openvino(weights: Weights, folder: Path) -> Path:
    model = load("fuzz_openvino").Model()
    source = model.operator("Parameter", [])
    operators = {"conv": ("Convolution", {}), "first": ("MatMul", {"transpose_b": "true"})}
    operators["second"] = operators["first"]
    for name, (kind, data) in operators.items():
        model.operator(kind, [source, model.constant(name, weights[f"{name}.weight"].numpy())], data)
    (folder / "model.xml").write_bytes(model.xml())
    (folder / "model.bin").write_bytes(model.values)
    return folder / "model.xml"


def core_ml(weights: Weights, folder: Path) -> Path:
    fuzz = load("fuzz_coreml")
    blob, operations = fuzz.Blob(), []
    for name, kind in {"conv": "conv", "first": "linear", "second": "linear"}.items():
        values = weights[f"{name}.weight"].numpy()
        place = fuzz.stored("fp32", values.shape, blob.add("fp32", values.tobytes()))
        operations.append(fuzz.operation("const", name, values.shape, given="fp32", val=place))
        operations.append(fuzz.operation(kind, f"{name}_out", (1, 4), weight=name))
    path: Path = fuzz.write(fuzz.case(fuzz.program(*operations), bytes(blob.data)), folder)
    return path


CONTAINERS: tuple[Callable[[Weights, Path], Path], ...] = (
    sharded, torch_zip, torch_legacy, zipped, npz, gguf, onnx, keras_h5, keras_archive, flax, distributed,
    torch_export, openvino, core_ml,
)  # fmt: skip


def numbers(layer: LayerResult) -> dict[str, Any]:
    return {name: metric.value for name, metric in layer.metrics.items()}


@pytest.fixture(scope="module")
def expected(weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> rmtaudit.Report:
    report = rmtaudit.scan(safetensors(weights, tmp_path_factory.mktemp("safetensors")))
    assert len(report.layers) == 3
    return report


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda write: str(write.__name__))
def test_equal_weights_give_equal_reports(
    container: Callable[[Weights, Path], Path],
    weights: Weights,
    expected: rmtaudit.Report,
    tmp_path: Path,
) -> None:
    report = rmtaudit.scan(container(weights, tmp_path))
    assert report.verdict == expected.verdict
    ours = {layer.shape: layer for layer in report.layers}
    assert set(ours) == {layer.shape for layer in expected.layers}
    assert report.coverage.parameters_analyzed == expected.coverage.parameters_analyzed
    for theirs in expected.layers:
        layer = ours[theirs.shape]
        assert (layer.kind, layer.verdict, layer.status) == (theirs.kind, theirs.verdict, theirs.status)
        assert [each.code for each in layer.findings] == [each.code for each in theirs.findings]
        wanted = numbers(theirs)
        assert numbers(layer) == {
            name: pytest.approx(value, rel=2e-6, abs=1e-9) if isinstance(value, float) else value
            for name, value in wanted.items()
        }
