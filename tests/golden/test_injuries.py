"""Real trained transformers, whole and injured: each injury is found in its layer, with its number."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from rmtaudit.analyzers.base import LayerInput, Observation
from rmtaudit.analyzers.forensics import Forensics
from rmtaudit.analyzers.noise import Noise
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import UNIT_ROUNDOFF

LEVEL = 0.05
"""Family-wise level over the layers of a model, of a warning."""

LARGE_WEIGHT = "RA-FO-026"

LAYERS = {
    "minilm": (
        "encoder.layer.0.attention.self.query.weight",
        "encoder.layer.1.intermediate.dense.weight",
        "encoder.layer.3.attention.self.value.weight",
        "encoder.layer.4.output.dense.weight",
    ),
    "rxnfp": (
        "encoder.layer.0.attention.self.key.weight",
        "encoder.layer.5.output.dense.weight",
        "encoder.layer.11.attention.output.dense.weight",
    ),
}
NEARLY_NORMAL = {"encoder.layer.11.attention.output.dense.weight"}
CASES = [(model, layer) for model, layers in LAYERS.items() for layer in layers]


def read(path: Path) -> Iterator[LayerInput]:
    with open_checkpoint(path) as checkpoint:
        for layer in plan_layers(checkpoint.tensors).layers:
            matrices = layer.build(tuple(checkpoint.read(name) for name in layer.tensors))
            spectrum = gram_eigenvalues(matrices[0])
            yield LayerInput(
                layer=layer, spectrum=spectrum, matrices=matrices, epsilon=UNIT_ROUNDOFF[layer.dtype]
            )


@pytest.fixture(scope="module")
def models(minilm: Path, shared: Callable[..., Path]) -> dict[str, dict[str, LayerInput]]:
    paths = {"minilm": minilm, "rxnfp": shared("models", "rxnfp", "bert_ft.bin")}
    return {name: {given.layer.name: given for given in read(path)} for name, path in paths.items()}


def observed(
    given: LayerInput, W: torch.Tensor | None = None, *, noise: bool = True
) -> dict[str, Observation]:
    if W is not None:
        given = dataclasses.replace(given, matrices=(W,), spectrum=gram_eigenvalues(W))
    analyses = (Forensics().analyze(given), *((Noise().analyze(given),) if noise else ()))
    seen = (each for analysis in analyses for each in analysis.observations)
    return {each.code: each for each in seen if each.code.startswith("RA-FO")}


def test_nothing_is_found_in_the_originals_but_what_is_true(models: dict[str, dict[str, LayerInput]]) -> None:
    found = {}
    for model, layers in models.items():
        for name, given in layers.items():
            for code, each in observed(given).items():
                if each.p_value is None or each.p_value * len(layers) <= LEVEL:
                    found[model, name, code] = each
    # A weight above the others is information, and this model has super weights.
    found = {key: each for key, each in found.items() if key[2] != LARGE_WEIGHT}
    # Sentence-transformers pool by the mean: this pooler was never trained, and is still the float16 numbers
    # that somebody drew.
    assert set(found) == {
        ("minilm", "pooler.dense.weight", "RA-FO-003"),
        ("minilm", "pooler.dense.weight", "RA-FO-011"),
    }


@pytest.fixture(params=CASES, ids=[f"{model}-{layer}" for model, layer in CASES])
def whole(request: pytest.FixtureRequest, models: dict[str, dict[str, LayerInput]]) -> LayerInput:
    model, layer = request.param
    return models[model][layer]


def test_rank_64(whole: LayerInput) -> None:
    U, S, V = torch.linalg.svd(whole.matrices[0].double(), full_matrices=False)
    found = observed(whole, ((U[:, :64] * S[:64]) @ V[:64]).float())
    assert set(found) == {"RA-FO-001"}
    assert found["RA-FO-001"].evidence["rank"] == 64
    assert found["RA-FO-001"].evidence["possible"] == min(whole.layer.shape)


@pytest.mark.parametrize("bits", [4, 2])
@pytest.mark.parametrize("unit", ["row", "tensor"])
def test_round_to_nearest(whole: LayerInput, bits: int, unit: str) -> None:
    W = whole.matrices[0]
    top = 2 ** (bits - 1) - 1
    step = (W.abs().amax(1, keepdim=True) if unit == "row" else W.abs().max()) / top
    found = observed(whole, (W / step).round() * step)
    evidence = found["RA-FO-002"].evidence
    assert (evidence["bits"], evidence["unit"], evidence["symmetric"]) == (bits, unit, True)
    assert evidence["step"] == pytest.approx(float(step.median()), rel=0.25 if unit == "row" else 1e-6)


def test_half_pruned(whole: LayerInput) -> None:
    W = whole.matrices[0].clone()
    W[W.abs() <= W.abs().median()] = 0
    found = observed(whole, W)
    assert set(found) == {"RA-FO-004"}
    assert found["RA-FO-004"].evidence["zero_share"] == pytest.approx(0.5, abs=1e-4)


def test_shuffled(whole: LayerInput) -> None:
    W = whole.matrices[0]
    order = torch.randperm(W.numel(), generator=torch.Generator().manual_seed(1))
    found = set(observed(whole, W.flatten()[order].view(W.shape))) - {"RA-FO-006"}
    # The entries of one layer are within 0.4 % of a normal law: shuffled, they are those of a normal start.
    assert found == (set() if whole.layer.name in NEARLY_NORMAL else {"RA-FO-012"})


def test_drawn_anew(whole: LayerInput) -> None:
    generator = torch.Generator().manual_seed(2)
    W = 0.02 * torch.randn(whole.layer.shape, generator=generator)
    found = observed(whole, W)
    assert set(found) == {"RA-FO-011"}
    assert "normal, std 0.02" in found["RA-FO-011"].evidence["initialisations"]
    torch.nn.init.kaiming_uniform_(W, generator=generator)
    found = observed(whole, W)
    assert set(found) == {"RA-FO-011"}
    assert f"Kaiming uniform, relu, fan in {W.shape[1]}" in found["RA-FO-011"].evidence["initialisations"]


def test_one_row_zeroed(whole: LayerInput) -> None:
    W = whole.matrices[0].clone()
    W[37] = 0
    found = observed(whole, W)
    assert set(found) == {"RA-FO-005"}
    assert found["RA-FO-005"].evidence["rows"] == [37]


def test_one_entry_set_to_40_in_any_layer(models: dict[str, dict[str, LayerInput]]) -> None:
    for layers in models.values():
        for name, given in layers.items():
            if min(given.layer.shape) < 50:
                continue
            W = given.matrices[0].clone()
            row, column = W.shape[0] // 3, W.shape[1] // 5
            W[row, column] = 40
            found = observed(given, W, noise=False)  # which has no say about single entries
            by_share = "RA-FO-014" in found
            by_tail = "RA-FO-006" in found
            if by_tail:
                p_value = found["RA-FO-006"].p_value
                assert p_value is not None
                by_tail = p_value * len(layers) <= LEVEL
            assert by_share or by_tail, name
            if by_share:
                assert found["RA-FO-014"].evidence["position"] == [row, column], name
            if by_tail:
                assert found["RA-FO-006"].evidence["positions"][0] == [row, column], name
