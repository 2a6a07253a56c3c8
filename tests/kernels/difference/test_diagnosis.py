"""The ladder of diagnoses on matrices with known answers."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from edits import EDITS, wrong_numbers
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.difference.arrangement import Rearranged
from rmtaudit.kernels.difference.diagnosis import Diagnosis, Kind, Unknown, UnknownReason, diagnose
from rmtaudit.kernels.difference.formats import ulp
from rmtaudit.kernels.difference.random_change import DenseUpdate, Noise


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _trained(rows: int = 160, cols: int = 128, seed: int = 0) -> torch.Tensor:
    """Return noise with a profile of rows and columns, and a decaying spectrum of signal."""
    generator = _generator(seed)
    noise = torch.randn(rows, cols, generator=generator) * torch.rand(rows, 1, generator=generator).add(0.5)
    k = 24
    left, right = torch.randn(rows, k, generator=generator), torch.randn(k, cols, generator=generator)
    return (0.03 * (noise + (left * (1.5 / torch.arange(1, k + 1).sqrt())) @ right)).float()


def _diagnose(base: torch.Tensor, candidate: torch.Tensor) -> Diagnosis:
    return diagnose(base, candidate, generator=_generator(1))


def _numbers(diagnosis: Diagnosis) -> dict[str, Any]:
    assert diagnosis.evidence is not None
    return dataclasses.asdict(diagnosis.evidence)


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_gets_its_diagnosis_and_its_numbers(name: str) -> None:
    edit, kind, expected = EDITS[name]
    weight = _trained()
    diagnosis = _diagnose(weight, edit(weight, _generator(2)))

    assert diagnosis.kind == kind
    assert not wrong_numbers(expected, _numbers(diagnosis))


@pytest.mark.parametrize("shape", [(160, 128), (30, 200), (1, 40), (5, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_matrix_set_to_zero_is_pruned(shape: tuple[int, int], dtype: torch.dtype) -> None:
    weight = _trained(*shape)
    diagnosis = _diagnose(weight, torch.zeros(shape, dtype=dtype))

    assert diagnosis.kind is Kind.PRUNED
    numbers = _numbers(diagnosis)
    assert (numbers["entries"], numbers["share"], numbers["sparsity"]) == (weight.numel(), 1.0, 1.0)


def test_equal_matrices_are_identical_and_other_containers_hold_the_same_values() -> None:
    weight = _trained().bfloat16()

    assert _diagnose(weight, weight.clone()).kind is Kind.IDENTICAL
    assert _diagnose(weight, weight.float()).kind is Kind.SAME_VALUES
    nan = weight.clone()
    nan[0, 0] = torch.nan
    assert _diagnose(nan, nan.clone()).kind is Kind.IDENTICAL


def test_a_cast_that_changes_no_value_is_a_cast() -> None:
    weight = _trained().bfloat16().float()

    diagnosis = _diagnose(weight, weight.bfloat16())
    assert diagnosis.kind is Kind.CAST
    assert _numbers(diagnosis)["changed"] == 0


@pytest.mark.parametrize("dtype", ["float16", "float8_e4m3fn", "float8_e5m2"])
def test_casts_are_named_also_where_they_are_stored_wider(dtype: str) -> None:
    weight = _trained()
    cast = weight.to(getattr(torch, dtype))

    for stored in (cast, cast.float()):
        diagnosis = _diagnose(weight, stored)
        assert diagnosis.kind is Kind.CAST
        assert _numbers(diagnosis)["dtype"] == dtype


def test_bfloat16_by_cutting_off_bits_is_rounding_toward_zero() -> None:
    weight = _trained()
    cut = (weight.view(torch.int32) & -65536).view(torch.float32)

    assert _numbers(_diagnose(weight, cut))["rounding"] == "toward zero"


def test_the_transpose_of_a_square_matrix() -> None:
    weight = _trained(96, 96)

    assert _numbers(_diagnose(weight, weight.T.contiguous()))["order"] == "transposed"


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), both=st.booleans())
def test_a_permutation_is_found_and_undone(seed: int, both: bool) -> None:
    weight = _trained(40, 30, seed % 7).double()
    rows = torch.randperm(40, generator=_generator(seed))
    moved = weight[rows]
    if both:
        moved = moved[:, torch.randperm(30, generator=_generator(seed + 1))]
    if torch.equal(moved, weight):
        return
    evidence = _diagnose(weight, moved).evidence

    assert isinstance(evidence, Rearranged)
    assert evidence.order in ("rows permuted", "rows and columns permuted", "columns permuted")
    assert torch.equal(evidence.undone(moved), weight)


def test_rows_multiplied_as_batch_norm_is_folded_in() -> None:
    weight = _trained()
    factors = torch.rand(160, 1, generator=_generator(3)) + 0.5
    diagnosis = _diagnose(weight, weight * factors)

    assert diagnosis.kind is Kind.SCALED
    assert _numbers(diagnosis)["along"] == "rows"
    assert _numbers(diagnosis)["highest"] == pytest.approx(float(factors.max()), rel=1e-6)


def test_a_flipped_sign() -> None:
    weight = _trained()

    assert _numbers(_diagnose(weight, -weight))["factor"] == -1


def test_edited_rows_are_named() -> None:
    weight = _trained()
    edited = weight.clone()
    edited[[3, 50]] = 0.1 * torch.randn(2, 128, generator=_generator(4))
    numbers = _numbers(_diagnose(weight, edited))

    assert numbers["rows"] == (3, 50)
    assert numbers["lines"] == 2


def test_a_flipped_bit_is_said_to_be_one() -> None:
    weight = _trained()
    flipped = weight.clone()
    flipped.view(torch.int32)[9, 9] ^= 1 << 27
    numbers = _numbers(_diagnose(weight, flipped))

    assert numbers["one_bit"]
    assert numbers["positions"] == ((9, 9),)


@pytest.mark.parametrize(
    ("mask", "pattern"),
    [
        (lambda w: torch.rand(w.shape, generator=_generator(5)) < 0.7, "random"),
        (lambda w: (torch.arange(w.shape[0]) % 5 != 0)[:, None].expand(w.shape), "rows"),
        (lambda w: (torch.arange(w.shape[1]) % 3 != 0).expand(w.shape), "columns"),
    ],
)
def test_patterns_of_pruning(mask: Any, pattern: str) -> None:
    weight = _trained()

    assert _numbers(_diagnose(weight, weight * mask(weight)))["pattern"] == pattern


def test_pruning_after_a_cast_is_pruning() -> None:
    weight = _trained()
    edit = EDITS["pruned 50 %"][0]

    assert _diagnose(weight, edit(weight, _generator(0)).bfloat16()).kind is Kind.PRUNED


def test_quantisation_of_another_model_is_not_one_of_this_base() -> None:
    weight = _trained()
    tuned = weight + 0.3 * weight.std() * torch.randn(weight.shape, generator=_generator(6))
    evidence = _diagnose(weight, EDITS["int4 a row"][0](tuned, _generator(0))).evidence

    assert isinstance(evidence, Unknown)
    assert evidence.reason is UnknownReason.OTHER_QUANTISATION
    assert evidence.quantised is not None
    assert evidence.quantised.bits == 4


def test_a_dense_update_with_structure_is_no_noise() -> None:
    weight = _trained()
    generator = _generator(7)
    spikes = torch.randn(160, 3, generator=generator) @ torch.randn(3, 128, generator=generator)
    update = 0.003 * torch.randn(weight.shape, generator=generator) + 0.002 * spikes
    evidence = _diagnose(weight, weight + update).evidence

    assert isinstance(evidence, DenseUpdate)
    assert evidence.spikes == 3
    assert not evidence.apart


def test_noise_that_shrinks_the_base_is_no_noise() -> None:
    weight = _trained()
    shrunk = 0.9 * weight + 0.1 * weight.std() * torch.randn(weight.shape, generator=_generator(8))

    assert isinstance(_diagnose(weight, shrunk).evidence, DenseUpdate)


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_the_interval_of_sigma_holds_the_noise(seed: int) -> None:
    weight = _trained(64, 64, seed % 5)
    evidence = _diagnose(
        weight, weight + 0.2 * weight.std() * torch.randn(64, 64, generator=_generator(100 + seed))
    ).evidence

    assert isinstance(evidence, Noise)
    half = evidence.interval[1] - evidence.sigma
    assert abs(evidence.sigma - 0.2) < 2.5 * half  # 5 sigma: never by chance


def test_unrelated_matrices_are_replaced_and_permuted_units_are_not() -> None:
    weight, other = _trained(seed=1), _trained(seed=2)
    assert _diagnose(weight, other).kind is Kind.REPLACED
    permuted = weight[torch.randperm(160, generator=_generator(9))]
    tuned = permuted + 0.1 * weight.std() * torch.randn(weight.shape, generator=_generator(10))
    assert _diagnose(weight, tuned).kind is not Kind.REPLACED


def test_what_cannot_be_judged_says_why() -> None:
    vector = torch.randn(50, 1, generator=_generator(0))
    weight = _trained()
    broken = weight.clone()
    broken[0, 0] = torch.inf
    cases = {
        UnknownReason.TOO_SMALL: (vector, vector + 0.1 * torch.randn(50, 1, generator=_generator(1))),
        UnknownReason.NONFINITE: (weight, broken),
        UnknownReason.NOT_FLOATING: (torch.arange(6).reshape(2, 3), torch.arange(6).reshape(2, 3) + 1),
        UnknownReason.CONSTANT_BASE: (torch.zeros(20, 20), torch.randn(20, 20, generator=_generator(2))),
    }
    for reason, pair in cases.items():
        evidence = _diagnose(*pair).evidence
        assert isinstance(evidence, Unknown)
        assert evidence.reason is reason


@pytest.mark.parametrize("rank", [8, 16])
def test_small_updates_are_found_where_most_entries_of_bfloat16_did_not_change(rank: int) -> None:
    weight = _trained().bfloat16()
    update = EDITS[f"LoRA {rank}, .5 %"][0](weight.float(), _generator(2)).bfloat16()
    diagnosis = _diagnose(weight, update)

    assert bool((update == weight).float().mean() > 0.2)
    assert diagnosis.kind is Kind.LOW_RANK_UPDATE
    assert _numbers(diagnosis)["rank"] == rank


def test_the_unit_in_the_last_place_is_that_of_the_format() -> None:
    values = torch.tensor([0.0, 1.0, -1.5, 2.0, 3e-40, 1 - 2**-9])

    units = ulp(values, "bfloat16").tolist()
    assert units == [2.0**-133, 2.0**-7, 2.0**-7, 2.0**-6, 2.0**-133, 2.0**-8]
