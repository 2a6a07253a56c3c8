"""``--verify``: what agrees, what deviates, what cannot be compared."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import save_file
from torch.torch_version import TorchVersion

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.cli import cli
from rmtaudit.cli.errors import INCONCLUSIVE, run
from rmtaudit.engine.samples.verification import verify_tails
from rmtaudit.engine.scan import verification as verified
from rmtaudit.engine.scan.run import scan_checkpoint
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.engine.verify import checks
from rmtaudit.engine.verify.readers import SecondReader
from rmtaudit.report.model import LayerResult
from rmtaudit.report.parsing import report_from_dict
from rmtaudit.report.schema import report_schema

SCHEMA = report_schema()
NEEDS_SAFE_LOAD = pytest.mark.skipif(
    torch.__version__ < TorchVersion("2.10"), reason=f"torch.load of torch {torch.__version__} is not called"
)
Capture = pytest.CaptureFixture[str]


def tensors(count: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = {f"layer{i}.weight": torch.randn(40, 30 + i, generator=generator) for i in range(count)}
    return {**found, "conv.weight": torch.randn(32, 8, 3, 3, generator=generator), "bias": torch.ones(40)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({**tensors(), "half.weight": torch.randn(24, 20).bfloat16()}, path)
    return path


def scanned(capsys: Capture, *args: str) -> tuple[int, dict[str, Any], str]:
    code = run(
        cli, ["scan", *args, "--analyzers", "scale,powerlaw", "--threads", "1", "--format", "json", "-q"]
    )
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else {}, err


def test_every_quantity_is_recomputed_and_agrees(model: Path, capsys: Capture) -> None:
    code, report, _ = scanned(capsys, "--verify", "6", str(model))
    assert code == 0
    jsonschema.Draft202012Validator(SCHEMA).validate(report)
    found = report["verification"]
    assert found["outcome"] == "agrees"
    assert found["not_compared"] == []
    assert {each["owner"] for each in found["checks"]} == {
        *(f"layer{i}.weight" for i in range(4)), "conv.weight", "half.weight",
    }  # fmt: skip
    assert {each["quantity"] for each in found["largest"]} == set(checks.ACCURACY) - {"exponent"}
    assert {each["library"] for each in found["checks"]} == {
        "safetensors", "LAPACK", "powerlaw", "numpy", "scipy",
    }  # fmt: skip
    assert report_from_dict(report).to_dict() == report


def test_three_layers_by_default_and_the_seed_chooses(model: Path, capsys: Capture) -> None:
    def owners(*args: str) -> set[str]:
        code, report, _ = scanned(capsys, *args)
        assert code == 0
        return {each["owner"] for each in report["verification"]["checks"]}

    first = owners("--verify", str(model))
    assert len(first) == 3
    assert owners(str(model), "--verify") == first
    assert any(owners(str(model), "--verify", "--seed", str(seed)) != first for seed in range(1, 4))
    assert "verification" not in scanned(capsys, str(model))[1]


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("zip", marks=NEEDS_SAFE_LOAD),
        pytest.param("wrapped", marks=NEEDS_SAFE_LOAD),
        "folder",
    ],
)
def test_every_format_has_a_second_reader(form: str, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "model.pt"
    if form == "folder":
        path = tmp_path / "model"
        path.mkdir()
        parts = list(tensors().items())
        for index, part in enumerate((parts[:2], parts[2:])):
            save_file(dict(part), path / f"model-{index}.safetensors")
        weights = {name: f"model-{int(place >= 2)}.safetensors" for place, (name, _) in enumerate(parts)}
        index_file = {"metadata": {}, "weight_map": weights}
        (path / "model.safetensors.index.json").write_text(json.dumps(index_file))
    else:
        torch.save({"state_dict": tensors()} if form == "wrapped" else tensors(), path)
    code, report, err = scanned(capsys, str(path), "--verify", "2")
    assert code == 0, err
    readers = {each["library"] for each in report["verification"]["checks"] if each["quantity"] == "values"}
    assert readers == {"safetensors" if form == "folder" else "torch.load"}


def test_torch_load_is_not_called_where_it_could_run_code(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pt"
    torch.save(tensors(), path)
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    code, report, _ = scanned(capsys, str(path), "--verify", "2")
    assert code == INCONCLUSIVE
    assert report["verification"]["outcome"] == "nothing compared"
    reasons = [each["reason"] for each in report["verification"]["not_compared"]]
    assert len(reasons) == 2
    assert all("torch 2.10 or newer is needed" in reason for reason in reasons)
    assert "torch.load" not in {each["library"] for each in report["verification"]["checks"]}


def moved_by(row: LayerResult, quantity: str, step: float) -> LayerResult:
    """Return the row with another value of a metric: by one where it is counted, else in proportion."""
    if quantity not in row.metrics:
        return row
    metric = row.metrics[quantity]
    value = float(metric.value or 0)
    more = step if step == 1 else step * value
    return replace(row, metrics={**row.metrics, quantity: replace(metric, value=value + more)})


@pytest.mark.parametrize(
    "quantity", ["values", "eigenvalues", "alpha", "tail_size", "ks_distance", "stable_rank"]
)
def test_a_deviation_is_found_named_and_inconclusive(
    quantity: str, model: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the second opinion must find: each number is falsified after the scan."""
    honest = scan_checkpoint

    def falsified(checkpoint: Any, settings: ScanSettings, **rest: Any) -> Any:
        inspect = rest.pop("inspect")

        def moved(row: Any, spectrum: Any) -> None:
            if quantity == "eigenvalues":
                spectrum.eigenvalues[0] += 3 * spectrum.floor
            inspect(row, spectrum)

        report = honest(checkpoint, settings, inspect=moved, **rest)
        if quantity == "values":
            read = type(checkpoint).read
            monkeypatch.setattr(
                type(checkpoint),
                "read",
                lambda self, name: read(self, name) + 1e-7 * (name == "layer1.weight"),
            )
        elif quantity != "eigenvalues":
            layers = [
                moved_by(row, quantity, 1 if quantity == "tail_size" else 1e-4) for row in report.layers
            ]
            return replace(report, layers=tuple(layers))
        return report

    monkeypatch.setattr(verified, "scan_checkpoint", falsified)
    code, report, err = scanned(capsys, str(model), "--verify", "6")
    assert code == 3
    found = report["verification"]
    assert found["outcome"] == "deviates"
    assert {each["quantity"] for each in found["checks"] if not each["agrees"]} == {quantity}
    assert f"not verified: {quantity} of" in err


def test_the_table_shows_the_largest_deviations(
    model: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run(cli, ["scan", str(model), "--verify", "--analyzers", "scale,powerlaw", "-q"]) == 0
    out = capsys.readouterr().out
    assert "second opinion: agrees" in out
    assert "ks_distance" in out
    assert "1 of the floor" in out


def test_where_nothing_can_be_compared_the_section_says_why(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"attention.in_proj_weight": torch.randn(96, 32)}, path)
    with open_checkpoint(path) as checkpoint:
        report = scan_checkpoint(checkpoint, ScanSettings(threads=1))
        found = verified.verify_scan(checkpoint, report, {}, layers=3)
    assert found["outcome"] == "nothing compared"
    assert found["not_compared"][0]["reason"] == "no layer that was analysed is a single stored matrix"
    reader = SecondReader(path)
    assert isinstance(reader.read("missing"), str)
    (tmp_path / "broken.safetensors").write_bytes(b"not a header")
    assert "broken.safetensors" in str(SecondReader(tmp_path / "broken.safetensors").read("x"))


def test_missing_libraries_are_named_with_the_remedy(
    model: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "powerlaw" else find(name, *rest)
    )
    code, _, err = scanned(capsys, str(model), "--verify")
    assert code == 2
    assert "RA-US-601" in err
    assert "pip install 'rmtaudit[verify]'" in err


@pytest.mark.parametrize("ending", ["npy", "csv"])
def test_tails_have_a_second_opinion(ending: str, tmp_path: Path, capsys: Capture) -> None:
    values = np.random.default_rng(0).pareto(2, 300) + 1
    path = tmp_path / f"values.{ending}"
    if ending == "npy":
        np.save(path, values)
    else:
        path.write_text("value\n" + "\n".join(map(repr, values.tolist())))
    assert run(cli, ["tails", str(path), "--verify", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["verification"]
    assert found["outcome"] == "agrees"
    assert {each["owner"] for each in found["checks"]} == {"file", "upper", "lower"}
    assert {each["quantity"] for each in found["largest"]} == {
        "values", "alpha", "exponent", "tail_size", "ks_distance",
    }  # fmt: skip
    assert run(cli, ["tails", str(path), "--verify", "--side", "upper"]) == 0
    assert "second opinion: agrees" in capsys.readouterr().out


def test_a_wrong_tail_deviates(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    from rmtaudit.engine.samples import tails

    honest = tails.study_file

    def falsified(path: Path, settings: tails.TailSettings) -> dict[str, Any]:
        document = honest(path, settings)
        document["upper"]["alpha"]["value"] *= 1 + 1e-5
        return document

    monkeypatch.setattr(tails, "study_file", falsified)
    path = tmp_path / "values.npy"
    np.save(path, np.random.default_rng(0).pareto(2, 300) + 1)
    assert run(cli, ["tails", str(path), "--verify", "--format", "json"]) == 3
    assert "not verified: alpha of upper deviates by 1.0e-05" in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "library"), [("zeta", "powerlaw"), ("far", "scipy"), ("grid", "powerlaw")])
def test_a_discrete_tail_has_a_second_opinion(
    kind: str, library: str, tmp_path: Path, capsys: Capture
) -> None:
    rng = np.random.default_rng(3)
    values = {
        "zeta": lambda: np.minimum(rng.zipf(2.5, 400), 2**50).astype(float),
        "far": lambda: rng.poisson(50, 400).astype(float),
        "grid": lambda: 0.25 * (np.floor(np.exp(rng.normal(2, 1, 400))) + 1),
    }[kind]()
    path = tmp_path / "values.npy"
    np.save(path, values)
    assert run(cli, ["tails", str(path), "--verify", "--side", "upper", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["upper"]["support"] == "discrete"
    found = document["verification"]
    assert found["outcome"] == "agrees"
    assert found["not_compared"] == []
    assert {each["quantity"]: each["library"] for each in found["checks"]} == {
        "values": "numpy", "tail_size": "numpy", "alpha": library, "ks_distance": "scipy",
    }  # fmt: skip
    wrong = {
        **document,
        "upper": {**document["upper"], "alpha": {"value": 1.001 * document["upper"]["alpha"]["value"]}},
    }
    assert verify_tails(path, wrong)["outcome"] == "deviates"
    later = {
        **document,
        "upper": {**document["upper"], "ks_distance": 1.01 * document["upper"]["ks_distance"]},
    }
    assert verify_tails(path, later)["outcome"] == "deviates"
