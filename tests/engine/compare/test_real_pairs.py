"""Pairs of real checkpoints with known answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import rmtaudit
from rmtaudit.report.comparison import Comparison

Shared = Callable[..., Path]


def _compared(shared: Shared, base: str, candidate: str) -> Comparison:
    return rmtaudit.compare(shared("models", *base.split("/")), shared("models", *candidate.split("/")),
                            metrics=False)  # fmt: skip


def _kinds(comparison: Comparison) -> dict[str, str]:
    return {
        layer.name: layer.diagnosis.kind
        for layer in comparison.layers
        if layer.kind is not None and layer.diagnosis is not None
    }


def test_a_keras_model_and_its_conversion_to_float_are_equal_but_for_batch_norm(shared: Shared) -> None:
    comparison = _compared(shared, "mlperf_tiny/resnet8.h5", "mlperf_tiny/resnet8_float.tflite")

    assert set(_kinds(comparison).values()) == {"identical", "scaled"}
    assert len(_kinds(comparison)) == 10


def test_a_keras_model_and_its_conversion_to_int8(shared: Shared) -> None:
    comparison = _compared(shared, "mlperf_tiny/resnet8.h5", "mlperf_tiny/resnet8_int8.tflite")

    assert list(_kinds(comparison).values()) == ["quantised"] * 10


def test_an_onnx_model_and_its_quantised_tflite(shared: Shared) -> None:
    comparison = _compared(shared, "dtln/model_2.onnx", "dtln/model_quant_2.tflite")

    assert list(_kinds(comparison).values()) == ["quantised"] * 19
    assert comparison.summary.distortion is not None
    assert comparison.summary.distortion > 0.99


def test_the_half_of_an_onnx_graph_that_a_smaller_file_keeps_is_identical(shared: Shared) -> None:
    """The smaller file has one of two sampling rates, in float32: it is no cast to half precision."""
    comparison = _compared(shared, "silero/silero_v5.1.2.onnx", "silero/silero_v5.1.2_half.onnx")

    assert len(_kinds(comparison)) == 13
    assert set(_kinds(comparison).values()) == {"identical"}
    assert {layer.dtypes for layer in comparison.layers if layer.kind} == {("float32", "float32")}
    assert all("then_branch" in name for name in _kinds(comparison))


def test_a_retrained_model_keeps_its_fixed_basis(shared: Shared) -> None:
    comparison = _compared(shared, "silero/silero_v5.1.2.onnx", "silero/silero_v6.2.3_16k.safetensors")
    kinds = _kinds(comparison)

    assert kinds.pop("If_0_then_branch__Inline_0__stft.forward_basis_buffer") == "identical"
    assert set(kinds.values()) <= {"replaced", "dense_update"}


@pytest.mark.slow
def test_a_fine_tuned_bert_carries_a_dense_update(shared: Shared) -> None:
    comparison = _compared(shared, "rxnfp/bert_pretrained.bin", "rxnfp/bert_ft.bin")
    updates = [
        layer.diagnosis
        for layer in comparison.layers
        if layer.diagnosis is not None and layer.diagnosis.kind == "dense_update"
    ]

    assert len(updates) == 75
    assert not any(update.numbers["apart"] for update in updates)
    assert 0.19 < sorted(update.numbers["relative_norm"] for update in updates)[37] < 0.23


def test_independent_networks_are_called_so(shared: Shared) -> None:
    kinds = _kinds(_compared(shared, "cifar_resnet/resnet20.th", "cifar_resnet/resnet32.th"))

    assert sum(kind == "replaced" for kind in kinds.values()) >= 17
    assert "noise" not in kinds.values()
