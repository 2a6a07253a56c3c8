"""ONNX models: what is a weight, in which order of sides, under which name, with which values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.contract import ReaderContract
from rmtaudit.checkpoints.onnx.reader import OnnxReader
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import TensorSpec, Use

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

FLOAT = 1
MS = "com.microsoft"

Save = Callable[..., Path]


def graph_of(nodes: Sequence[Any], values: dict[str, Any], name: str = "g") -> Any:
    tensors = [
        value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(np.asarray(value), key)
        for key, value in values.items()
    ]
    return helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", FLOAT, None)],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        tensors,
    )


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return a function that writes a model of some operators and initialisers, and returns its path."""

    def build(nodes: Sequence[Any], values: dict[str, Any], **rest: Any) -> Path:
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MS, 1), helper.make_opsetid("d", 1)]
        model = helper.make_model(graph_of(nodes, values), opset_imports=opsets, ir_version=10, **rest)
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return path

    return build


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def spec_of(checkpoint: Checkpoint, name: str) -> TensorSpec:
    return next(spec for spec in checkpoint.tensors if spec.name == name)


def matrices(path: Path) -> dict[str, torch.Tensor]:
    """Return the first matrix of each layer, by the layer's name."""
    made = {}
    with open_checkpoint(path) as checkpoint:
        for layer in plan_layers(checkpoint.tensors).layers:
            if layer.band is None:
                stored = tuple(checkpoint.read(each) for each in layer.tensors)
            else:
                stored = (checkpoint.read_band(layer.tensor, *layer.band),)
            made[layer.name] = layer.build(stored)[0]
    return made


class TestContract(ReaderContract):
    """The contract of every reader, on models of initialisers that nothing takes."""

    reader = OnnxReader()
    dtypes = ("float32", "float64", "float16", "bfloat16", "float8_e4m3fn")

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        kinds = {"float32": 1, "float64": 11, "float16": 10, "bfloat16": 16, "float8_e4m3fn": 17}
        made = []
        for name, tensor in tensors.items():
            kind = kinds[str(tensor.dtype).removeprefix("torch.")]
            raw = tensor.contiguous().view(torch.uint8).numpy().tobytes()
            made.append(helper.make_tensor(name, kind, tensor.shape, raw, raw=True))
        graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], [], made)
        path = folder / "model.onnx"
        onnx.save(helper.make_model(graph), path)
        return path


W = normal(5, 3)

ROLES: dict[str, tuple[Any, np.ndarray[Any, Any], Use, str]] = {
    "MatMul": (helper.make_node("MatMul", ["x", "w"], ["y"]), W, Use.DENSE, "IO"),
    "MatMul, weight first": (helper.make_node("MatMul", ["w", "x"], ["y"]), W, Use.DENSE, "OI"),
    "MatMul, a batch": (helper.make_node("MatMul", ["x", "w"], ["y"]), normal(4, 5, 3), Use.DENSE, "EIO"),
    "Gemm": (helper.make_node("Gemm", ["x", "w"], ["y"]), W, Use.DENSE, "IO"),
    "Gemm, transB": (helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), W, Use.DENSE, "OI"),
    "Gemm, weight first": (helper.make_node("Gemm", ["w", "x"], ["y"], transA=1), W, Use.DENSE, "IO"),
    "FusedMatMul": (
        helper.make_node("FusedMatMul", ["x", "w"], ["y"], transB=1, domain=MS), W, Use.DENSE, "OI"),
    "Conv": (helper.make_node("Conv", ["x", "w"], ["y"]), normal(4, 3, 2, 2), Use.CONVOLUTION, "OIHW"),
    "Conv of one side": (
        helper.make_node("Conv", ["x", "w"], ["y"]), normal(4, 3, 2), Use.CONVOLUTION, "OIW"),
    "Conv of three": (
        helper.make_node("Conv", ["x", "w"], ["y"]), normal(4, 3, 2, 2, 2), Use.CONVOLUTION, "OIDHW"),
    "ConvTranspose": (
        helper.make_node("ConvTranspose", ["x", "w"], ["y"]), normal(4, 3, 2, 2), Use.CONVOLUTION, "IOHW"),
    "Gather": (helper.make_node("Gather", ["w", "x"], ["y"]), W, Use.EMBEDDING, "OI"),
    "RNN": (helper.make_node("RNN", ["x", "w"], ["y"], hidden_size=5), normal(1, 5, 3), Use.RECURRENT, "1OI"),
    "Attention": (
        helper.make_node("Attention", ["x", "w"], ["y"], domain=MS), normal(4, 12), Use.ATTENTION, "IO"),
    "MoE": (helper.make_node("MoE", ["x", "r", "w"], ["y"], domain=MS), normal(3, 4, 5), Use.DENSE, "EOI"),
}  # fmt: skip


@pytest.mark.parametrize("case", ROLES)
def test_the_operator_says_what_a_weight_is(case: str, save: Save) -> None:
    node, value, use, axes = ROLES[case]
    with open_checkpoint(save([node], {"w": value})) as checkpoint:
        spec = spec_of(checkpoint, "w")
        assert spec.role is not None
        assert (spec.role.use, spec.role.axes, spec.shape) == (use, axes, value.shape)
        assert torch.equal(checkpoint.read("w"), torch.from_numpy(value))


def test_the_matrix_is_outputs_by_inputs_whatever_the_operator(save: Save) -> None:
    stored = {"a": W, "b": np.ascontiguousarray(W.T)}
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Gemm", ["h", "b"], ["y"], transB=1),
    ]
    made = matrices(save(nodes, stored))
    assert torch.equal(made["a"], torch.from_numpy(W.T.copy()))
    assert torch.equal(made["a"], made["b"])


CHAINS: dict[str, list[Any]] = {
    "Transpose": [helper.make_node("Transpose", ["w"], ["v"], perm=[1, 0])],
    "Transpose without an order": [helper.make_node("Transpose", ["w"], ["v"])],
    "Identity and Cast": [
        helper.make_node("Identity", ["w"], ["u"]),
        helper.make_node("Cast", ["u"], ["t"], to=FLOAT),
        helper.make_node("Transpose", ["t"], ["v"]),
    ],
    "Unsqueeze and Squeeze": [
        helper.make_node("Unsqueeze", ["w", "one"], ["u"]),
        helper.make_node("Transpose", ["u"], ["t"], perm=[1, 2, 0]),
        helper.make_node("Squeeze", ["t", "zero"], ["v"]),
    ],
    "Slices and Concat": [
        helper.make_node("Transpose", ["w"], ["t"]),
        helper.make_node("Slice", ["t", "two", "end", "one"], ["second"]),
        helper.make_node("Slice", ["t", "zero", "two", "one"], ["first"]),
        helper.make_node("Concat", ["second", "first"], ["v"], axis=1),
    ],
    "Split and Concat": [
        helper.make_node("Split", ["w"], ["a", "b"], axis=0, num_outputs=2),
        helper.make_node("Concat", ["a", "b"], ["c"], axis=0),
        helper.make_node("Transpose", ["c"], ["v"]),
    ],
    "Reshape by sides of 1": [
        helper.make_node("Reshape", ["w", "shape"], ["r"]),
        helper.make_node("Squeeze", ["r"], ["s"]),
        helper.make_node("Transpose", ["s"], ["v"]),
    ],
}
NUMBERS = {
    "one": np.array([1]), "zero": np.array([0]), "two": np.array([2]), "end": np.array([1 << 40]),
    "shape": np.array([1, -1, 3]),
}  # fmt: skip


@pytest.mark.parametrize("case", CHAINS)
def test_a_weight_is_found_behind_what_only_moves_it(case: str, save: Save) -> None:
    path = save([*CHAINS[case], helper.make_node("MatMul", ["x", "v"], ["y"])], {"w": W, **NUMBERS})
    with open_checkpoint(path) as checkpoint:
        spec = spec_of(checkpoint, "w")
        assert spec.shape == W.shape
        assert spec.role is not None
        assert (spec.role.use, spec.role.axes) == (Use.DENSE, "OI" if len(spec.shape) == 2 else "")
        rows = torch.cat([checkpoint.read("w")[slice(*part[1:])] for part in spec.role.parts or [("", 0, 5)]])
        assert torch.equal(rows, torch.from_numpy(W))


def test_a_true_reshape_is_presented_as_the_operator_sees_it(save: Save) -> None:
    nodes = [
        helper.make_node("Reshape", ["w", "shape"], ["v"]),
        helper.make_node("MatMul", ["x", "v"], ["y"]),
    ]
    stored = normal(4, 2, 3)
    made = matrices(save(nodes, {"w": stored, "shape": np.array([4, 6])}))
    assert torch.equal(made["w"], torch.from_numpy(stored.reshape(4, 6).T.copy()))


def test_ranges_that_several_operators_take_are_parts(save: Save) -> None:
    stored = normal(6, 4)
    nodes = [
        helper.make_node("Split", ["w"], ["q", "k", "v"], axis=0, num_outputs=3),
        *(helper.make_node("Gemm", ["x", name], [f"y{name}"], transB=1) for name in "qkv"),
    ]
    made = matrices(save(nodes, {"w": stored}))
    assert [matrix.shape for matrix in made.values()] == [(2, 4)] * 3
    assert torch.equal(torch.cat(list(made.values())), torch.from_numpy(stored))


@pytest.mark.parametrize(("op", "gates"), [("LSTM", "iofg"), ("GRU", "zrn")])
@pytest.mark.parametrize("directions", [1, 2])
def test_gates_of_both_directions_are_layers(op: str, gates: str, directions: int, save: Save) -> None:
    hidden = 3
    W, R = normal(directions, len(gates) * hidden, 5), normal(directions, len(gates) * hidden, hidden)
    node = helper.make_node(op, ["x", "W", "R"], ["y"], hidden_size=hidden)
    made = matrices(save([node], {"W": W, "R": R}))
    assert len(made) == 2 * directions * len(gates)
    for name, stored in (("W", W), ("R", R)):
        for direction in range(directions):
            for index, gate in enumerate(gates):
                label = f"{name}#{direction}.{gate}" if directions == 2 else f"{name}#{gate}"
                rows = stored[direction, index * hidden : (index + 1) * hidden]
                assert torch.equal(made[label], torch.from_numpy(rows))


def test_gates_that_an_exporter_put_in_another_order_keep_their_names(save: Save) -> None:
    """PyTorch stores i f g o; its exporter cuts and joins them to ONNX's i o f c."""
    stored = normal(12, 5)
    cuts = {"i": (0, 3), "o": (9, 12), "fg": (3, 9)}
    nodes = [helper.make_node("Slice", ["w", f"{key}0", f"{key}1", "axis"], [f"w{key}"]) for key in cuts]
    nodes += [
        helper.make_node("Concat", ["wi", "wo", "wfg"], ["c"], axis=0),
        helper.make_node("Unsqueeze", ["c", "axis"], ["W"]),
        helper.make_node("LSTM", ["x", "W", "R"], ["y"], hidden_size=3),
    ]
    numbers = {f"{key}{end}": np.array([cuts[key][end]]) for key in cuts for end in (0, 1)}
    made = matrices(save(nodes, {"w": stored, "axis": np.array([0]), **numbers}))
    for index, gate in enumerate("ifgo"):
        assert torch.equal(made[f"w#{gate}"], torch.from_numpy(stored[3 * index : 3 * index + 3]))


@pytest.mark.parametrize(("tangent", "gates"), [(1, "igfo"), (2, "ifgo")])
def test_gates_of_a_cell_that_is_written_out(tangent: int, gates: str, save: Save) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["s"]),
        helper.make_node("Split", ["s"], ["g0", "g1", "g2", "g3"], axis=-1, num_outputs=4),
        *(helper.make_node("Tanh" if i == tangent else "Sigmoid", [f"g{i}"], [f"a{i}"]) for i in range(4)),
    ]
    stored = normal(5, 8)
    made = matrices(save(nodes, {"w": stored, "b": normal(8)}))
    assert list(made) == [f"w#{gate}" for gate in gates]
    assert torch.equal(torch.cat(list(made.values())), torch.from_numpy(stored.T.copy()))


def test_a_split_without_gates_is_no_cell(save: Save) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Split", ["p"], ["a", "b"], axis=-1, num_outputs=2),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    assert list(matrices(save(nodes, {"w": normal(5, 8)}))) == ["w"]


def test_constants_of_bodies_and_functions(save: Save) -> None:
    one, other = normal(3, 4), normal(3, 5)
    bodies = [
        graph_of(
            [
                helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(value, "")),
                helper.make_node("MatMul", ["x", "c"], ["z"]),
            ],
            {},
        )
        for value in (one, other)
    ]
    function = helper.make_function(
        "d",
        "Dense",
        ["a", "b"],
        ["y"],
        [helper.make_node("MatMul", ["a", "b"], ["y"])],
        [helper.make_opsetid("", 21)],
    )
    nodes = [
        helper.make_node("If", ["x"], ["y"], else_branch=bodies[0], then_branch=bodies[1]),
        helper.make_node("Dense", ["x", "w"], ["z"], domain="d"),
    ]
    made = matrices(save(nodes, {"w": W}, functions=[function]))
    assert sorted(matrix.shape for matrix in made.values()) == [(3, 5), (4, 3), (5, 3)]
    assert torch.equal(made["c"], torch.from_numpy(one.T.copy()))
    assert torch.equal(made["w"], torch.from_numpy(W.T.copy()))


def test_what_is_no_weight_has_a_reason(save: Save) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "c"], ["h"]),
        helper.make_node("BatchNormalization", ["h", "s", "b", "m", "v"], ["n"]),
        helper.make_node("Mul", ["n", "table"], ["t"]),
        helper.make_node("Reshape", ["t", "shape"], ["y"]),
    ]
    vectors = {name: normal(3) for name in "csbmv"}
    path = save(nodes, {"w": W, **vectors, "table": normal(7, 3), "shape": np.array([-1, 3])})
    with open_checkpoint(path) as checkpoint:
        plan = plan_layers(checkpoint.tensors)
    reasons = {skip.spec.name: skip.reason for skip in plan.skipped}
    assert reasons == {
        "c": "bias",
        "s": "scale",
        "b": "shift",
        "m": "running mean",
        "v": "running variance",
        "table": "table that scales, element by element",
        "shape": "whole numbers of the graph (shapes, indices, settings)",
    }
    assert [skip.spec.name for skip in plan.skipped if not skip.learned] == ["shape"]
    assert not any(skip.weight for skip in plan.skipped)


def test_a_table_that_is_added_may_be_one_of_positions(save: Save) -> None:
    path = save([helper.make_node("Add", ["x", "pos"], ["y"])], {"pos": normal(1, 6, 5)})
    assert matrices(path)["pos"].shape == (6, 5)


def test_a_product_of_two_constants_is_not_guessed(save: Save) -> None:
    """Weight norm that was not folded: the direction is no factor of an activation."""
    nodes = [
        helper.make_node("Mul", ["v", "g"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    assert "v" in matrices(save(nodes, {"v": normal(5, 4), "g": normal(5, 1)}))


TYPED = ("float32", "float64", "float16", "int32", "int8", "uint8", "bool", "int64", "uint64", "complex64")


@pytest.mark.parametrize("dtype", TYPED)
def test_values_in_numeric_fields(dtype: str, save: Save) -> None:
    values = (100 * normal(4, 3)).astype(dtype) if dtype != "bool" else normal(4, 3) > 0
    kind = helper.np_dtype_to_tensor_dtype(values.dtype)
    tensor = helper.make_tensor("t", kind, values.shape, values.flatten().tolist())
    assert not tensor.raw_data
    with open_checkpoint(save([helper.make_node("Relu", ["x"], ["y"])], {"t": tensor})) as checkpoint:
        assert np.array_equal(checkpoint.read("t").numpy(), values)


def test_values_in_another_file(tmp_path: Path, save: Save) -> None:
    path = save([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": W, "v": W + 1})
    outside = tmp_path / "outside" / "model.onnx"
    outside.parent.mkdir()
    onnx.save(
        onnx.load(path), outside, save_as_external_data=True, size_threshold=0, location="model.onnx.data"
    )
    with open_checkpoint(outside) as checkpoint:
        assert torch.equal(checkpoint.read("w"), torch.from_numpy(W))
        assert torch.equal(checkpoint.read_band("v", 2, 4), torch.from_numpy(W[2:4] + 1))
        assert all(spec.alias is None for spec in checkpoint.tensors)


def test_the_same_range_of_another_file_is_one_tensor(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(W.tobytes())
    tensors = []
    for name in ("a", "b"):
        tensor = onnx.TensorProto(name=name, data_type=FLOAT, dims=W.shape, data_location=1)
        tensor.external_data.add(key="location", value="data")
        tensors.append(tensor)
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], [], tensors)
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    with open_checkpoint(tmp_path) as checkpoint:
        first, second = checkpoint.tensors
        assert first.alias == second.alias != None  # noqa: E711
        plan = plan_layers(checkpoint.tensors)
    assert "tied" in plan.skipped[0].reason


def test_a_sparse_tensor_and_a_text_are_listed(save: Save) -> None:
    path = save([helper.make_node("Relu", ["x"], ["y"])], {"t": np.array(["a", "b"], dtype=object)})
    model = onnx.load(path)
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "s"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([3])))
    sparse.dims.extend([4, 4])
    onnx.save(model, path)
    with open_checkpoint(path) as checkpoint:
        assert {spec.name: spec.unreadable for spec in checkpoint.tensors} == {
            "t": "text",
            "s": "sparse tensor",
        }


def test_names_are_unique_and_hostile_ones_are_kept(save: Save) -> None:
    name = "w\x1b[31m\n"
    bodies = [graph_of([helper.make_node("MatMul", ["x", name], ["z"])], {name: W + i}) for i in (0, 1)]
    node = helper.make_node("If", ["x"], ["y"], else_branch=bodies[0], then_branch=bodies[1])
    with open_checkpoint(save([node], {})) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == [name, f"{name} (graph 2)"]
        assert torch.equal(checkpoint.read(f"{name} (graph 2)"), torch.from_numpy(W + 1))


REAL = (
    "basic_pitch/nmp",
    "dtln/model_1",
    "dtln/model_2",
    "derived/onnx_external/model_1",
    "magika/standard_v3_3",
    "silero/silero_v5.1.2",
    "silero/silero_v5.1.2_half",
    "ultraface/RFB-320",
)


@pytest.mark.parametrize("name", REAL)
def test_real_models_hold_what_the_library_reads(name: str, shared: Callable[..., Path]) -> None:
    path = shared("models", f"{name}.onnx")
    model = onnx.load(path)
    stored: dict[str, Any] = {}

    def walk(graph: Any) -> None:
        stored.update((tensor.name, tensor) for tensor in graph.initializer)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    walk(attribute.g)
                elif node.op_type == "Constant" and attribute.type == onnx.AttributeProto.TENSOR:
                    stored[node.output[0]] = attribute.t

    walk(model.graph)
    with open_checkpoint(path) as checkpoint:
        seen = {spec.name: spec for spec in checkpoint.tensors}
        assert set(stored) <= set(seen)
        for label, tensor in stored.items():
            expected = numpy_helper.to_array(tensor)
            assert np.array_equal(checkpoint.read(label).numpy(), expected, equal_nan=True), label
        plan = plan_layers(checkpoint.tensors)
    weights = {spec.name for spec in seen.values() if spec.role is not None and spec.role.use is not Use.NONE}
    reasons = {skip.spec.name: skip.reason for skip in plan.skipped}
    layers = {layer.tensor for layer in plan.layers}
    assert all(each in layers or "vector" in reasons[each] for each in weights)
    big = [label for label, spec in seen.items() if spec.parameters >= 1024 and min((2, *spec.shape)) > 1]
    assert set(big) <= layers | set(reasons)
