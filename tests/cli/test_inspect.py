"""``rmtaudit inspect`` from the command line: what it prints, its exit codes, and what it does not import."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from clock import Clock
from safetensors.torch import save_file

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run

PAGE = Path(__file__).parents[2] / "docs" / "commands" / "inspect.md"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tensors = {f"layers.{i}.weight": torch.randn(8, 6, dtype=torch.bfloat16) for i in range(12)}
    save_file({**tensors, "norm\x1b[31m": torch.ones(4)}, tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def test_the_table(path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(cli, ["inspect", str(path), "--top", "3"]) == 0
    out = capsys.readouterr().out
    assert "safetensors · 13 tensors · 580 parameters" in out
    assert "… and 10 more: --top 0 shows all" in out
    assert re.search(r"to analyse +99\.3 % of 580 parameters in 12 layers: 12 dense", out)
    assert re.search(r"not analysed +1 vector \(bias, norm, statistic\) \(4\)", out)
    assert re.search(r"stored as +12 bfloat16 \(576\) · 1 float32 \(4\)", out)
    assert all(len(line) <= 80 for line in out.splitlines())
    assert run(cli, ["inspect", str(path), "--top", "0"]) == 0
    out = capsys.readouterr().out
    assert "layers.11.weight" in out
    assert "\x1b[31m" not in out


def test_names_that_are_shortened_stay_distinct(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    names = [f"model.layers.{n}.self_attention.{p}_projection.weight" for n in range(9) for p in "qkv"]
    save_file({name: torch.randn(8, 6) for name in names}, tmp_path / "n.safetensors")
    assert run(cli, ["inspect", str(tmp_path / "n.safetensors"), "--top", "0"]) == 0
    rows = re.findall(r"^(\S+) +8×6 ", capsys.readouterr().out, re.MULTILINE)
    assert len(set(rows)) == len(rows) == len(names)


def test_the_document(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["inspect", str(path), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == {"name": "rmtaudit.inspect", "version": "1.0"}
    target = tmp_path / "out.json"
    assert run(cli, ["inspect", str(path), "-o", str(target), "-q"]) == 0
    assert json.loads(target.read_text()) == document
    assert capsys.readouterr().out == ""


def test_every_key_is_on_the_page(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(cli, ["inspect", str(path), "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    text = PAGE.read_text(encoding="utf-8")
    analysed = next(tensor for tensor in document["tensors"] if tensor["layers"])
    keys = {*document, *document["subject"], *document["coverage"], *analysed, *analysed["layers"][0]}
    keys |= {*document["stored_as"][0], *document["decisions"][0]}
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []


def test_exit_codes(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"bias": torch.ones(3)}, tmp_path / "bias.safetensors")
    assert run(cli, ["inspect", str(tmp_path / "bias.safetensors")]) == 3
    assert "[RA-NA-001]" in capsys.readouterr().err
    path.write_bytes(path.read_bytes()[:-1])
    assert run(cli, ["inspect", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"rmtaudit: error: {path}: Tensor" in captured.err
    assert run(cli, ["inspect", "s3://gpt2"]) == 2
    assert "error: s3://gpt2: URLs of" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["folder", "absent/out.json", "m.safetensors"])
def test_a_place_that_cannot_be_written_is_refused_at_once(
    path: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (path.parent / "folder").mkdir()
    target = path.parent / output
    before = sorted(path.parent.rglob("*"))
    assert run(cli, ["inspect", str(path), "--format", "json", "-o", str(target)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "[RA-OU-002]" in captured.err
    assert sorted(path.parent.rglob("*")) == before


def test_torch_is_not_imported(path: Path) -> None:
    code = (
        "import sys; from rmtaudit.cli import cli; from rmtaudit.cli.errors import run; "
        f"assert run(cli, ['inspect', {str(path)!r}]) == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_large_table_has_a_row_for_tensors_that_are_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    tensors = {f"layers.{i}.weight": torch.ones(8, 6) for i in range(39)}
    save_file({**tensors, "norm": torch.ones(4)}, tmp_path / "m.safetensors")
    assert run(cli, ["inspect", str(tmp_path / "m.safetensors")]) == 0
    assert "layers.38.weight" in capsys.readouterr().out
    save_file({**tensors, "norm": torch.ones(4), "head": torch.ones(3, 3)}, tmp_path / "m.safetensors")
    assert run(cli, ["inspect", str(tmp_path / "m.safetensors")]) == 0
    out = capsys.readouterr().out
    assert re.search(r"layers\.#\.weight +39 +8×6 +float32 +dense", out)
    assert re.search(r"norm +1 +4 +float32 +vector", out)
    assert "--all lists every tensor" in out
    assert "layers.3" not in out
    assert all(len(line) <= 100 for line in out.splitlines())
    for flags in (["--all"], ["--top", "0"]):
        assert run(cli, ["inspect", str(tmp_path / "m.safetensors"), *flags]) == 0
        assert "layers.38.weight" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [[], ["--format", "json"]], ids=["table", "json"])
def test_a_header_of_a_hundred_thousand_tensors_takes_about_a_second(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    leaves = (("q.weight", [8, 8]), ("up.weight", [16, 8]), ("norm.weight", [8]), ("up.bias", [16]))
    header, at = {}, 0
    for index in range(100_000):
        leaf, shape = leaves[index % 4]
        size = 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[f"model.layers.{index // 4}.{leaf}"] = {
            "dtype": "F32", "shape": shape, "data_offsets": [at, at + size]
        }  # fmt: skip
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    with (tmp_path / "m.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)
    clock = Clock()
    assert run(cli, ["inspect", str(tmp_path / "m.safetensors"), *flags]) == 0
    assert clock.seconds() < 3  # measured: 0.7 to 1.2 for the table, 0.9 to 1.5 for the document
    assert "50000" in capsys.readouterr().out
