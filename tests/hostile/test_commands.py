"""Rows 29, 31, 33, 38, 41, 43, 51 and 70 of the hostile corpus, as the commands answer them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from clock import Clock
from safetensors.torch import save_file

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run

Bytes = Callable[..., bytes]
Write = Callable[..., Path]
Capture = pytest.CaptureFixture[str]

ESCAPES = ["\x1b[31mred", "a\r\n::error::b", "[bold]x[/]", "<b>|</b>", "\x00nul", "‮", "=cmd()"]
COMMANDS = [["inspect"], ["scan", "--analyzers", "scale", "--no-progress"]]


@pytest.fixture(params=COMMANDS, ids=["inspect", "scan"])
def command(request: pytest.FixtureRequest) -> list[str]:
    chosen: list[str] = request.param
    return chosen


@pytest.mark.parametrize("header", [{}, {"__metadata__": {"format": "pt"}}])
def test_no_tensors_are_inconclusive(
    safetensors_bytes: Bytes, write: Write, header: Any, command: list[str], capsys: Capture
) -> None:
    assert run(cli, [*command, str(write(safetensors_bytes(header)))]) == 3
    assert "[RA-NA-001]" in capsys.readouterr().err


def test_vectors_alone_are_inconclusive(tmp_path: Path, command: list[str], capsys: Capture) -> None:
    save_file({"a": torch.ones(4), "b": torch.tensor(1.0)}, tmp_path / "m.safetensors")
    assert run(cli, [*command, str(tmp_path / "m.safetensors")]) == 3
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("format_", ["table", "json"])
def test_names_that_a_terminal_would_obey(
    tmp_path: Path, command: list[str], format_: str, capsys: Capture
) -> None:
    tensors = {f"{name}{i}": torch.randn(9, 8 + i) for i, name in enumerate(ESCAPES)}
    save_file({**tensors, **{f"{name} bias": torch.ones(3) for name in ESCAPES}}, tmp_path / "m.safetensors")
    assert run(cli, [*command, str(tmp_path / "m.safetensors"), "--format", format_, "--top", "0"]) == 0
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert not {"\x1b", "\r", "\x00", "‮"} & set(text)
        assert "\n::error::" not in text


@pytest.mark.parametrize("format_", ["markdown", "csv", "jsonl"])
def test_names_in_the_other_formats_of_scan(tmp_path: Path, format_: str, capsys: Capture) -> None:
    save_file(
        {f"{name}{i}": torch.randn(9, 8 + i) for i, name in enumerate(ESCAPES)}, tmp_path / "m.safetensors"
    )
    assert run(cli, [*COMMANDS[1], str(tmp_path / "m.safetensors"), "--format", format_]) == 0
    out = capsys.readouterr().out
    assert not {"\x1b", "\x00", "‮"} & set(out)
    assert "\n::error::" not in out.replace("\r", "\n")


def test_extreme_values_are_one_row_each(tmp_path: Path, capsys: Capture) -> None:
    tensors = {
        "nan": torch.full((9, 8), float("nan")),
        "inf": torch.randn(9, 9).index_fill(0, torch.tensor([2]), float("inf")),
        "zero": torch.zeros(9, 10),
        "constant": torch.full((9, 11), 0.5),
        "denormal": torch.randn(9, 12) * 1e-42,
        "large": torch.randn(9, 13) * 1e37,
        "fine": torch.randn(9, 14),
    }
    save_file(tensors, tmp_path / "m.safetensors")
    assert run(cli, [*COMMANDS[1], str(tmp_path / "m.safetensors"), "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    states = {layer["name"]: layer["status"] for layer in report["layers"]}
    assert sorted(states) == sorted(tensors)
    assert states["nan"] == states["inf"] == "failed"
    assert states["large"] == states["denormal"] == states["fine"] == "ok"
    norms = {layer["name"]: layer["metrics"].get("log10_spectral_norm") for layer in report["layers"]}
    assert 37 < norms["large"]["value"] < 39


def test_paths_that_are_no_files(tmp_path: Path, command: list[str], capsys: Capture) -> None:
    os.mkfifo(tmp_path / "m.safetensors")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone.safetensors").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    wanted = {
        "m.safetensors": "RA-IN-003",
        "loop": "RA-IN-002",
        "gone.safetensors": "RA-IN-002",
        "empty": "RA-IN-091",
        "/dev/zero": "RA-IN-003",
        "absent.safetensors": "RA-IN-001",
        "two words\n\udcff.safetensors": "RA-IN-001",
    }
    for name, code in wanted.items():
        clock = Clock()
        assert run(cli, [*command, str(tmp_path / name)]) == 2, name
        assert clock.seconds() < 1
        shown = capsys.readouterr()
        assert f"[{code}]" in shown.err, name
        assert shown.out == ""
        assert "Traceback" not in shown.err
        assert shown.err.isascii() or "\udcff" not in shown.err


@pytest.mark.parametrize(
    "config",
    [
        b"{",
        b'{"model_type": 5, "quantization_config": 7}',
        b'{"model_type": "no_such_model", "architectures": ["X"], "auto_map": {"AutoModel": "evil--x.Y"}}',
        b'{"quantization_config": {"quant_method": ["fp8"], "weight_block_size": "big"}}',
        b'{"num_attention_heads": -1, "hidden_size": 1e400, "model_type": "gpt2"}',
    ],
)
def test_a_config_that_lies_stops_nothing(
    tmp_path: Path, command: list[str], config: bytes, capsys: Capture
) -> None:
    save_file({"transformer.h.0.attn.c_attn.weight": torch.randn(12, 36)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes(config)
    (tmp_path / "x.py").write_text("raise SystemExit(7)")
    assert run(cli, [*command, str(tmp_path)]) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["folder", "absent/x.json", "m.safetensors"])
def test_output_that_cannot_be_written(
    tmp_path: Path, command: list[str], name: str, capsys: Capture
) -> None:
    save_file({"w": torch.randn(9, 8)}, tmp_path / "m.safetensors")
    (tmp_path / "folder").mkdir()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    args = [*command, str(tmp_path / "m.safetensors"), "--format", "json", "-o", str(tmp_path / name)]
    assert run(cli, args) == 2
    shown = capsys.readouterr()
    assert "[RA-OU-00" in shown.err
    assert shown.out == ""
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk(tmp_path: Path, command: list[str], capsys: Capture) -> None:
    save_file({"w": torch.randn(9, 8)}, tmp_path / "m.safetensors")
    args = [*command, str(tmp_path / "m.safetensors"), "--format", "json", "-o", "/dev/full"]
    assert run(cli, args) == 2
    shown = capsys.readouterr()
    assert "[RA-OU-003]" in shown.err
    assert "Traceback" not in shown.err


def test_a_disk_that_fills_keeps_the_old_file(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    save_file({"w": torch.randn(9, 8)}, tmp_path / "m.safetensors")
    target = tmp_path / "old.json"
    target.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, f"No space left on device (file {descriptor})")

    monkeypatch.setattr(os, "fsync", full)
    args = [*command, str(tmp_path / "m.safetensors"), "--format", "json", "-o", str(target)]
    assert run(cli, args) == 2
    assert "No space left" in capsys.readouterr().err
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.safetensors", "old.json"]


def test_two_writers_leave_one_whole_file(tmp_path: Path, command: list[str], capsys: Capture) -> None:
    from rmtaudit.cli.output import output_file

    save_file({"w": torch.randn(9, 8)}, tmp_path / "m.safetensors")
    target = tmp_path / "out.json"
    with output_file(target) as other:
        assert run(cli, [*command, str(tmp_path / "m.safetensors"), "-o", str(target), "-q"]) == 0
        json.loads(target.read_text())
        other.write('{"other": 1}')
    assert json.loads(target.read_text()) == {"other": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.safetensors", "out.json"]
    capsys.readouterr()
