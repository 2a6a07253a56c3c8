"""Archives of ``torch.export.save``, against the program that they hold."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from clock import Clock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import CorruptError, InputError, NotACheckpointError
from rmtaudit.matrices.plan import plan_layers

Shared = Callable[..., Path]
DATA = Path(__file__).parents[1] / "data" / "torch_export"
CONFIG = "model/data/weights/model_weights_config.json"


def archive(path: Path | io.BytesIO, /, **entries: bytes | str) -> Any:
    """Write an archive with the entries of a small program, or others in their place."""
    meta = {
        "dtype": 7,
        "sizes": [{"as_int": 4}, {"as_int": 3}],
        "strides": [{"as_int": 3}, {"as_int": 1}],
        "storage_offset": {"as_int": 0},
        "layout": 7,
    }
    fields = {"path_name": "weight_0", "is_param": True, "use_pickle": False, "tensor_meta": meta}
    content: dict[str, bytes | str] = {
        "model/archive_format": "pt2",
        "model/byteorder": "little",
        CONFIG: json.dumps({"config": {"fc.weight": fields}}),
        "model/data/weights/weight_0": torch.arange(12.0).numpy().tobytes(),
    }
    content.update(entries)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in content.items():
            file.writestr(name, data)
    return path


def change(edit: Callable[[dict[str, Any]], Any]) -> str:
    """Return the table of weights with one thing in it changed."""
    buffer = io.BytesIO()
    archive(buffer)
    with zipfile.ZipFile(buffer) as file:
        table = json.loads(file.read(CONFIG))
    edit(table["config"]["fc.weight"])
    return json.dumps(table)


def meta(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda fields: fields["tensor_meta"].update(values)


def test_the_weights_are_those_of_the_program() -> None:
    state = torch.load(DATA / "state.pt", weights_only=True)
    with open_checkpoint(DATA / "tied.pt2") as checkpoint:
        assert checkpoint.format == "torch-export"
        specs = {spec.name: spec for spec in checkpoint.tensors}
        assert set(specs) == {*state, "mask"}
        for name, tensor in state.items():
            assert torch.equal(checkpoint.read(name), tensor)
            assert torch.equal(checkpoint.read_band(name, 1, 3), tensor[1:3])
        assert specs["embedding.weight"].alias == specs["head.weight"].alias
        assert "sample inputs of the program were ignored" in checkpoint.warnings
        reasons = {row.spec.name: row.reason for row in plan_layers(checkpoint.tensors).skipped}
        assert reasons["mask"] == "constant of the exported program, outside its state dict"


def test_the_hint_of_the_public_case(shared: Shared) -> None:
    path = shared("cases", "pt2-hint", "model.pt2")
    with open_checkpoint(path) as checkpoint, zipfile.ZipFile(path) as file:
        assert [spec.name for spec in checkpoint.tensors] == ["0.weight", "0.bias", "1.weight", "1.bias"]
        for number, spec in enumerate(checkpoint.tensors):
            stored = file.read(f"model/data/weights/weight_{number}")
            assert checkpoint.read(spec.name).numpy().tobytes() == stored


def test_a_stride_of_the_other_convention_is_noticed(tmp_path: Path) -> None:
    """The strides of the table count: columns first is another matrix."""
    rows_first = archive(tmp_path / "a.pt2")
    strides = [{"as_int": 1}, {"as_int": 4}]
    columns_first = archive(tmp_path / "b.pt2", **{CONFIG: change(meta(strides=strides))})
    with open_checkpoint(rows_first) as a, open_checkpoint(columns_first) as b:
        assert torch.equal(a.read("fc.weight"), torch.arange(12.0).reshape(4, 3))
        assert torch.equal(b.read("fc.weight"), torch.arange(12.0).reshape(3, 4).t())


def test_big_endian_records_are_turned_round(tmp_path: Path) -> None:
    data = torch.arange(12.0).numpy().astype(">f4").tobytes()
    entries: dict[str, bytes | str] = {"model/byteorder": "big", "model/data/weights/weight_0": data}
    path = archive(tmp_path / "m.pt2", **entries)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.read("fc.weight").flatten().tolist() == list(range(12))


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda fields: fields.update(use_pickle=True), "a tensor subclass, stored as a pickle"),
        (meta(layout=1), "sparse tensor"),
        (meta(dtype=9), "dtype complex32"),
        (
            meta(strides=[{"as_int": 0}, {"as_int": 0}], sizes=[{"as_int": 10**6}, {"as_int": 10**6}]),
            "overlapping",
        ),
    ],
)
def test_what_cannot_be_read_is_listed(tmp_path: Path, edit: Any, reason: str) -> None:
    with open_checkpoint(archive(tmp_path / "m.pt2", **{CONFIG: change(edit)})) as checkpoint:
        (spec,) = checkpoint.tensors
        assert spec.unreadable is not None
        assert spec.unreadable.startswith(reason)
        with pytest.raises(InputError):
            checkpoint.read("fc.weight")


BROKEN: dict[str, tuple[Any, str]] = {
    "not JSON": ("{", "RA-IN-187"),
    "no table": ("[]", "RA-IN-187"),
    "no config": ("{}", "RA-IN-187"),
    "config a list": ('{"config": []}', "RA-IN-187"),
    "an entry no object": ('{"config": {"w": 1}}', "RA-IN-187"),
    "a key twice": ('{"config": {}, "config": {}}', "RA-IN-187"),
    "nested": ("[" * 100_000, "RA-IN-187"),
    "no meta": (change(lambda fields: fields.update(tensor_meta=None)), "RA-IN-187"),
    "unknown dtype": (change(meta(dtype=99)), "RA-IN-187"),
    "dtype no number": (change(meta(dtype="float")), "RA-IN-187"),
    "sizes no list": (change(meta(sizes=3)), "RA-IN-187"),
    "a size no integer": (change(meta(sizes=[{"as_expr": "s0"}, {"as_int": 3}])), "RA-IN-187"),
    "no offset": (change(meta(storage_offset=None)), "RA-IN-187"),
    "record missing": (change(lambda fields: fields.update(path_name="weight_9")), "RA-IN-050"),
    "record outside": (change(lambda fields: fields.update(path_name="../../x")), "RA-IN-050"),
    "path no text": (change(lambda fields: fields.update(path_name=[1])), "RA-IN-050"),
    "negative size": (change(meta(sizes=[{"as_int": -4}, {"as_int": 3}])), "RA-IN-052"),
    "negative stride": (change(meta(strides=[{"as_int": -3}, {"as_int": 1}])), "RA-IN-052"),
    "offset outside": (change(meta(storage_offset={"as_int": 1})), "RA-IN-052"),
    "too large": (change(meta(sizes=[{"as_int": 5}, {"as_int": 3}])), "RA-IN-052"),
    "overflow": (change(meta(sizes=[{"as_int": 2**40}, {"as_int": 2**40}])), "RA-IN-052"),
    "too few strides": (change(meta(strides=[{"as_int": 1}])), "RA-IN-052"),
}


@pytest.mark.parametrize("row", BROKEN)
def test_tables_that_contradict_the_archive(tmp_path: Path, row: str) -> None:
    table, code = BROKEN[row]
    clock = Clock()
    with pytest.raises(CorruptError) as caught:
        open_checkpoint(archive(tmp_path / "m.pt2", **{CONFIG: table}))
    assert clock.seconds() < 0.3
    assert caught.value.code == code
    assert str(caught.value).isprintable()


def test_compiled_packages_are_named(tmp_path: Path) -> None:
    for folder, kind in (("aotinductor/model", "AOTInductor"), ("executorch", "ExecuTorch")):
        path = tmp_path / "m.pt2"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("m/archive_format", "pt2")
            file.writestr(f"m/data/{folder}/a.wrapper.so", b"\x7fELF")
        with pytest.raises(NotACheckpointError, match=kind) as caught:
            open_checkpoint(path)
        assert caught.value.code == "RA-IN-195"


def test_an_archive_without_weights(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt2", "w") as file:
        file.writestr("m/archive_format", "pt2")
        file.writestr("m/data/sample_inputs/model.pt", b"")
    with pytest.raises(NotACheckpointError, match="has no table of weights"):
        open_checkpoint(tmp_path / "m.pt2")


def test_several_models_are_told_apart(tmp_path: Path) -> None:
    other = "model/data/weights/other_weights_config.json"
    path = archive(tmp_path / "m.pt2", **{other: change(lambda _: None)})
    with open_checkpoint(path) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["model.fc.weight", "other.fc.weight"]
        assert re.match("2 models in one archive", checkpoint.warnings[0])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_mutation_opens_or_raises_input_error(tmp_path: Path, data: Any) -> None:
    whole = bytearray(archive(tmp_path / "m.pt2").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        if data.draw(st.booleans()):
            whole[at] = data.draw(st.integers(0, 255))
        else:
            whole[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    (tmp_path / "m.pt2").write_bytes(bytes(whole))
    text = ""
    try:
        with open_checkpoint(tmp_path / "m.pt2") as checkpoint:
            for spec in checkpoint.tensors:
                if spec.unreadable is None:
                    assert tuple(checkpoint.read(spec.name).shape) == spec.shape
    except InputError as error:
        text = str(error)
    assert not text or text.isprintable()
