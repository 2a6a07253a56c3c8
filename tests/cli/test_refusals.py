"""Broken files of every format are refused before torch is imported, and the process then leaves at once."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmtaudit.checkpoints.registry import own_readers

DATA = Path(__file__).parents[1] / "data"
LOOK = """
import contextlib, io, json, sys
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
outcomes = []
for args in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as stderr, contextlib.redirect_stdout(io.StringIO()):
        code = run(cli, args)
    outcomes.append([" ".join(args)[-40:], code, stderr.getvalue(), "torch" in sys.modules])
json.dump(outcomes, sys.stdout)
"""
"""A process that carries out command lines in turn, and states after each whether torch is imported."""


def outcomes(commands: list[list[str]]) -> list[tuple[str, int, str, bool]]:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, json.dumps(commands)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [tuple(each) for each in json.loads(done.stdout)]


def archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, data in members.items():
            file.writestr(name.replace("__", "."), data)
    return stream.getvalue()


def saved(save: Callable[..., Any], *values: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, *values)
    return stream.getvalue()


def broken_files(folder: Path) -> dict[str, list[Path]]:
    """Write broken files of each format, by the name of its reader, and others that No reader recognises."""
    array = saved(np.save, np.ones((9, 9)))
    contents: dict[str, dict[str, bytes]] = {
        "safetensors": {
            name: (DATA / name).read_bytes() for name in ("truncated.safetensors", "header_bomb.safetensors")
        },
        "torch-zip": {"half.pt": (DATA / "zip.pt").read_bytes()[:900]},
        "torch-legacy": {"half_legacy.pt": (DATA / "legacy.pt").read_bytes()[:600]},
        "torch-export": {"half.pt2": (DATA / "torch_export" / "tied.pt2").read_bytes()[:2000]},
        "torch-dcp": {"dcp/.metadata": b"\x80\x02cos\nsystem\n.", "dcp/__0_0.distcp": b"PK"},
        "zip": {"models.zip": archive(a__txt=b"nothing")},
        "gguf": {"half.gguf": b"GGUF\x03\0\0\0" + b"\xff" * 16},
        "npy": {"half.npy": array[:200]},
        "npz": {"half.npz": saved(np.savez, np.ones(9))[:100], "bad.npz": archive(a__npy=array[:140])},
        "onnx": {"half.onnx": b"\x08\x07\x12\x04test:\xff\xff\x01"},
        "tensorflow-graph": {"half.pb": b"\n\xff\xff\x01\n\x01a\x12\x05Const"},
        "tflite": {"half.tflite": b"\x1c\0\0\0TFL3" + b"\xff" * 40},
        "keras-h5": {"half.h5": b"\x89HDF\r\n\x1a\n" + bytes(64)},
        "keras": {"half.keras": archive(config__json=b"{", model__weights__h5=b"\x89HDF\r\n\x1a\n")},
        "openvino": {
            "half.xml": b"<?xml version='1.0'?><net name='a' version='11'><layers><layer",
            "half.bin": b"",
        },
        "coreml": {"half.mlmodel": b"\x08\x04\xa2\x1f\xff\xff\xff\x01"},
        "flax-msgpack": {"half.msgpack": b"\x81\xa6params\x81\xa1a"},
        "": {
            "empty.safetensors": b"",
            "pointer.safetensors": (DATA / "lfs_pointer.safetensors").read_bytes(),
            "page.pt": b"<!DOCTYPE html><html>",
            "text.bin": b"nothing that is known" * 9,
        },
    }
    for files in contents.values():
        for name, data in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
    paths = {
        reader: [folder / name.partition("/")[0] for name in files] for reader, files in contents.items()
    }
    paths["openvino"], paths["torch-dcp"] = paths["openvino"][:1], paths["torch-dcp"][:1]
    paths[""].append(folder / "absent.pt")
    return paths


def test_scan_refuses_every_format_before_torch_is_imported(tmp_path: Path) -> None:
    files = broken_files(tmp_path)
    assert files.keys() - {""} == {reader.name for reader in own_readers()}
    commands = [["scan", str(path)] for paths in files.values() for path in paths]
    for name, code, stderr, torch in outcomes(commands):
        assert code == 2, (name, stderr)
        assert "rmtaudit: error: " in stderr, name
        assert "RA-IE" not in stderr, (name, stderr)
        assert not torch, (name, stderr)


def test_commands_that_take_a_source_refuse_a_checkpoint_before_torch_is_imported() -> None:
    files = [str(DATA / "truncated.safetensors"), str(DATA / "absent.safetensors"), str(DATA / "make.py")]
    for name, code, stderr, torch in outcomes(
        [[command, path] for command in ("logdet", "density") for path in files]
    ):
        assert (code, torch) == (2, False), (name, stderr)
        assert "rmtaudit: error: " in stderr, name


def test_other_commands_refuse_their_files_before_torch_is_imported(tmp_path: Path) -> None:
    absent, text = str(tmp_path / "absent"), str(DATA / "make.py")
    commands = [["rank", absent], ["tails", absent], ["tails", text], ["whatif", text, "--prune", "0.5"]]
    commands += [["forecast", absent, "--matrix", "kernel"], ["inspect", text], ["gate", text]]
    commands += [["lineage", absent], ["report", text], ["forecast", "ridge", "--data", absent]]
    for path in (absent, text):
        commands += [["compare", path, path], ["extract-lora", path, path, "--out", str(tmp_path / "out")]]
        commands += [["kernel", "ntk", path, "--data", path, "--out", str(tmp_path / "kernel.zarr")]]
        commands += [["activations", path, "--data", path], ["probe", path]]
    for name, code, stderr, torch in outcomes(commands):
        assert (code, torch) == (2, False), (name, stderr)
        assert "rmtaudit: error: " in stderr, name
        assert "RA-IE" not in stderr, (name, stderr)


def test_settings_that_are_wrong_are_refused_without_a_result(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    args = ["scan", str(DATA / "truncated.safetensors"), str(DATA / "whole.safetensors"), "-o", str(target)]
    ((_, code, stderr, _),) = outcomes([[*args, "--analyzers", "nope"]])
    assert code == 2
    assert "[RA-IN-034]" in stderr
    assert "[RA-US-101]" in stderr
    assert not target.exists()


@pytest.mark.parametrize("code", [0, 3])
def test_the_process_leaves_with_its_code_after_everything_is_written(tmp_path: Path, code: int) -> None:
    """Handlers for the end of the process run, buffered output arrives whole, no destructor is called."""
    program = (
        "import atexit, sys\nfrom pathlib import Path\nfrom rmtaudit.cli.errors import leave\n"
        "class Kept:\n    def __del__(self):\n        print('destroyed')\n"
        "kept = Kept()\n"
        f"atexit.register(lambda: Path({str(tmp_path / 'mark')!r}).write_text('done'))\n"
        "sys.stdout.write('x' * 300000)\nsys.stderr.write('error')\n"
        f"leave({code})\n"
    )
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, env=environ
    )
    assert done.returncode == code
    assert done.stdout == "x" * 300000
    assert done.stderr == "error"
    assert (tmp_path / "mark").read_text() == "done"
