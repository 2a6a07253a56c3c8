"""The pipeline from file to report on real trained checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

import rmtaudit
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.errors import InputError
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.report.model import Report
from rmtaudit.report.schema import report_schema

Shared = Callable[..., Path]

READABLE = [
    "cifar_resnet/resnet20.th", "cifar_resnet/resnet32.th", "cifar_resnet/resnet44.th",
    "cifar_resnet/resnet56.th",
    "disent_vae/VAE_mnist.pt", "disent_vae/betaH_mnist.pt", "disent_vae/btcvae_mnist.pt",
    "attacut/attacut-c.pth", "attacut/attacut-sc.pth",
    "rxnfp/bert_ft.bin", "rxnfp/bert_pretrained.bin",
    "silero/silero_v6.2.3_16k.safetensors", "sd_lora/lora_disney.safetensors",
    "ultraface/slim-320.pth", "ultraface/RFB-320.pth", "ultraface/RFB-320-masked.pth",
    "derived/sharded", "derived/l0l5_bf16.safetensors", "derived/l0l5_fp8_e4m3.safetensors",
    "derived/degenerate.safetensors",
]  # fmt: skip
REFUSED = {
    "derived/header_bomb.safetensors": "RA-IN-021",
    "derived/lfs_pointer.safetensors": "RA-IN-011",
    "derived/truncated.safetensors": "RA-IN-034",
    "derived/sharded_broken": "RA-IN-080",
}


@pytest.fixture(scope="module")
def schema() -> dict[str, object]:
    return report_schema()


NOT_COUNTED = {SkipReason.TIED, SkipReason.COPY, SkipReason.CONSTANT}
VECTORS = {SkipReason.VECTOR, SkipReason.VECTOR_VIEW}


def check_books(report: Report) -> None:
    """Every parameter that could be a weight is in a row, and every row that is not ``ok`` says why."""
    rows = sum(layer.parameters for layer in report.layers if layer.skip not in NOT_COUNTED)
    assert rows == report.coverage.weight_parameters
    assert all(bool(layer.skip) == (layer.status != "ok") for layer in report.layers)
    assert all(layer.reason for layer in report.layers if layer.status != "ok")
    named = {skip.name for skip in report.coverage.skipped}
    assert {layer.name for layer in report.layers if layer.status != "ok"} <= named
    for layer in report.layers:
        for result in layer.metrics.values():
            assert (result.value is None) == (result.status != "ok") == bool(result.reason)
            assert not isinstance(result.value, float) or math.isfinite(result.value)


@pytest.mark.parametrize("name", READABLE)
def test_a_trained_checkpoint_is_seen_whole(name: str, shared: Shared, schema: dict[str, object]) -> None:
    report = rmtaudit.scan(shared("models", name))
    check_books(report)
    jsonschema.validate(report.to_dict(), schema)
    assert report.complete
    assert report.coverage.parameters_analyzed > 0
    if "degenerate" not in name:
        assert {layer.skip for layer in report.layers if layer.status != "ok"} <= VECTORS | NOT_COUNTED


def test_codes_of_an_unknown_scheme_are_listed_and_never_analysed(shared: Shared) -> None:
    report = rmtaudit.scan(shared("models", "derived/l0l5_int4_packed.safetensors"))
    check_books(report)
    assert report.coverage.parameters_analyzed == 0
    assert {layer.skip for layer in report.layers} == {SkipReason.QUANTISED}
    assert {layer.verdict for layer in report.layers} == {"unjudged (quantised)"}
    assert {layer.reason for layer in report.layers} == {"quantised (unknown: qweight, scales)"}


def test_codes_with_a_scale_a_row_are_decoded(shared: Shared) -> None:
    report = rmtaudit.scan(shared("models", "derived/l0l5_int8_scale.safetensors"), analyzers=["scale"])
    exact = rmtaudit.scan(shared("models", "derived/l0l5_bf16.safetensors"), analyzers=["scale"])
    check_books(report)
    for layer, other in zip(report.layers, exact.layers, strict=True):
        assert layer.encoding is not None
        assert layer.encoding.bits == pytest.approx(8, abs=0.2)
        ours, theirs = (each.value("log10_frobenius_norm") for each in (layer, other))
        assert ours == pytest.approx(theirs, abs=1e-3)


@pytest.mark.parametrize(("name", "code"), REFUSED.items())
def test_a_broken_checkpoint_is_refused_with_its_rule(name: str, code: str, shared: Shared) -> None:
    with pytest.raises(InputError) as caught:
        rmtaudit.scan(shared("models", name))
    assert caught.value.code == code
    assert caught.value.hint


def test_every_odd_tensor_has_a_status_and_a_reason(shared: Shared) -> None:
    report = rmtaudit.scan(shared("models", "derived", "degenerate.safetensors"))
    rows = {layer.name: (layer.status, layer.reason.partition(":")[0]) for layer in report.layers}
    assert rows == {
        "conv1d": ("ok", ""), "dup_a": ("ok", ""), "five_d": ("ok", ""), "half_dead": ("ok", ""),
        "huge_scale": ("ok", ""), "identity": ("skipped", "constant of the architecture"),
        "mp_random": ("ok", ""), "tiny_scale": ("ok", ""),
        "wide": ("ok", ""), "constant": ("ok", "constant"), "denormal": ("ok", "constant"),
        "rank1": ("ok", "unresolved"), "zero": ("ok", "zero"), "with_inf": ("failed", "nonfinite"),
        "with_nan": ("failed", "nonfinite"),
        "dup_b": ("skipped", "copy"), "empty": ("skipped", "empty"),
        "one_by_one": ("skipped", "vector-shaped weight"), "row": ("skipped", "vector-shaped weight"),
    }  # fmt: skip
    reasons = {skip.name: skip.reason for skip in report.coverage.skipped}
    assert reasons["bools"] == "boolean values, not weights"
    assert reasons["ints"] == "integer values (int64), not real weights"
    assert ("scalar", "scalar") in {(skip.name, skip.reason) for skip in report.coverage.skipped}
    identity = next(layer for layer in report.layers if layer.name == "identity")
    assert identity.verdict == "constant (identity)"
    assert not identity.findings


def test_exit_codes(shared: Shared, capsys: pytest.CaptureFixture[str]) -> None:
    good = str(shared("models", "cifar_resnet", "resnet20.th"))
    broken = str(shared("models", "derived", "truncated.safetensors"))
    empty = str(shared("models", "derived", "no_tensors.safetensors"))
    assert run(cli, ["scan", good]) == 0
    assert run(cli, ["scan", empty]) == 3
    assert run(cli, ["scan", good, empty]) == 3
    assert run(cli, ["scan", empty, broken, good]) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert "download it again" in printed.err.lower()


def test_the_same_weights_in_two_formats_have_one_digest(shared: Shared) -> None:
    original = rmtaudit.scan(shared("models", "cifar_resnet", "resnet20.th"), analyzers=["scale"])
    converted = Path(__file__).resolve().parents[3] / "examples" / "resnet20_cifar10.safetensors"
    copy = rmtaudit.scan(converted, analyzers=["scale"])
    assert copy.subject["digest"] == original.subject["digest"]
    values = [{layer.name: layer.metrics for layer in report.layers} for report in (original, copy)]
    assert values[0] == values[1]
