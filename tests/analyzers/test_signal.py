"""The signal of layers: untrained ones have the name of their start, others none."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from rmtaudit.analyzers.base import Analysis, LayerInput
from rmtaudit.analyzers.contract import layer_input
from rmtaudit.analyzers.noise import Noise
from rmtaudit.kernels.signal import SignalWord
from rmtaudit.matrices.layers import LayerKind


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def basis(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(normal(rows, cols, seed=seed)).Q


def analysed(matrix: torch.Tensor, *, kernel: tuple[int, ...] = (), dtype: str = "float32") -> Analysis:
    return Noise().analyze(given(matrix, kernel=kernel, dtype=dtype))


def given(matrix: torch.Tensor, *, kernel: tuple[int, ...] = (), dtype: str = "float32") -> LayerInput:
    made = layer_input(matrix.float())
    kind = LayerKind.CONV2D if kernel else LayerKind.DENSE
    return replace(made, layer=replace(made.layer, kernel=kernel, kind=kind, dtype=dtype), epsilon=2.0**-24)


def text(found: Analysis) -> str:
    assert found.signal is not None
    return found.signal.text


def hadamard(size: int) -> torch.Tensor:
    made = torch.ones(1, 1, dtype=torch.float64)
    while len(made) < size:
        made = torch.cat([torch.cat([made, made], 1), torch.cat([made, -made], 1)])
    return made / math.sqrt(size)


HEADS = torch.tensor([1.0, 2.0, 1.3, 1.7], dtype=torch.float64).repeat_interleave(24)[:, None]
ZEROS = torch.rand(96, 128, generator=torch.Generator().manual_seed(1)).argsort(0) < 86
COSINES = math.sqrt(2 / 64) * torch.cos(
    math.pi / 64 * torch.outer(torch.arange(1, 60), torch.arange(64) + 0.5)
)
UNTRAINED = {
    "initial (normal)": 0.02 * normal(96, 64),
    "initial (uniform)": torch.rand(96, 64, generator=torch.Generator().manual_seed(0)) - 0.5,
    "initial (truncated normal)": torch.nn.init.trunc_normal_(
        torch.empty(96, 64), a=-2, b=2, generator=torch.Generator().manual_seed(0)
    ),
    "initial (orthogonal)": 1.4 * basis(96, 64),
    "initial (orthogonal, one block of several)": basis(256, 64)[:64],
    "initial (orthogonal, 3 blocks of rows)": torch.cat([basis(96, 32, head).T for head in range(3)]),
    "initial (orthogonal, 4 blocks of rows)": HEADS * basis(96, 64),
    "initial (Hadamard)": hadamard(64),
    "initial (DCT)": COSINES,
    "initial (identity)": torch.eye(32),
    "initial (identity plus normal)": torch.eye(64) + 0.05 * normal(64, 64),
    "initial (sparse normal)": normal(96, 128).masked_fill(ZEROS, 0),
    "initial (4 blocks of rows, normal)": HEADS * normal(96, 96),
    "too small (32)": 0.02 * normal(32, 96),
}


@pytest.mark.parametrize("wanted", UNTRAINED)
def test_untrained_layers_have_the_name_of_their_start(wanted: str) -> None:
    found = analysed(UNTRAINED[wanted])
    assert text(found) == wanted
    codes = {each.code for each in found.observations} - {"RA-NF-002"}
    assert codes <= {"RA-FO-011", "RA-NF-001"}
    assert ("RA-FO-011" in codes) == wanted.startswith("initial")


def test_a_padded_embedding_and_a_gated_start_are_initial() -> None:
    embedding = normal(200, 64)
    embedding[0] = 0
    assert text(analysed(embedding)) == "initial (normal)"


def test_a_dirac_kernel_is_named() -> None:
    dirac = torch.nn.init.dirac_(torch.empty(32, 32, 3, 3)).reshape(32, -1)
    assert text(analysed(dirac, kernel=(3, 3))) == "initial (Dirac)"


def test_the_usual_scale_is_in_the_evidence() -> None:
    found = analysed(
        torch.nn.init.xavier_uniform_(torch.empty(128, 192), generator=torch.Generator().manual_seed(0))
    )
    (fresh,) = (each for each in found.observations if each.code == "RA-FO-011")
    assert fresh.evidence["initialisations"] == ["Xavier uniform, fans 192 and 128"]


def test_scales_alone_are_structure() -> None:
    by_row = normal(96, 96) * (0.3 * normal(96, 1, seed=1)).exp()
    assert text(analysed(by_row)) == "structured (scales)"
    by_position = normal(64, 64, 9) * torch.linspace(0.7, 1.4, 9, dtype=torch.float64)
    assert text(analysed(by_position.reshape(64, -1), kernel=(3, 3))) == "structured (scales)"
    (seen,) = (each for each in analysed(by_row).observations if each.code == "RA-NF-005")
    assert seen.evidence["test"] == "sizes of rows"


def test_directions_are_structure() -> None:
    spiked = normal(96, 96) + 0.8 * normal(96, 1, seed=1) * normal(1, 96, seed=2)
    assert text(analysed(spiked)) == "structured"


def test_entries_of_no_start_in_random_order_look_shuffled() -> None:
    found = analysed(normal(96, 96) * normal(96, 96, seed=1))
    assert found.signal is not None
    assert found.signal.word is SignalWord.NOISE_LIKE
    (shuffled,) = (each for each in found.observations if each.code == "RA-FO-012")
    assert shuffled.evidence["kurtosis"] > 5


@pytest.mark.parametrize(
    "matrix",
    [
        0.2 + normal(96, 96),  # an offset
        0.02 * normal(96, 96) + 0.001 * normal(96, 96, seed=1) ** 3,  # trained a little
        normal(48, 48) * normal(48, 48, seed=1),  # too small for that claim
        (20 * normal(96, 96) * normal(96, 96, seed=1)).round(),  # on a grid
    ],
)
def test_what_does_not_look_shuffled(matrix: torch.Tensor) -> None:
    assert "RA-FO-012" not in {each.code for each in analysed(matrix).observations}


def test_no_row_is_both_initial_and_structured() -> None:
    for seed in range(6):
        for matrix in (normal(64, 64, seed=seed), basis(64, 64, seed), normal(64, 64, seed=seed) ** 3):
            found = analysed(matrix)
            codes = {each.code for each in found.observations}
            assert ("RA-FO-011" in codes) == (
                found.signal is not None and found.signal.word is SignalWord.INITIAL
            )


def test_sizes_of_the_weights_play_no_part() -> None:
    for factor in (1e-30, 1e30):
        scaled = replace(layer_input(factor * normal(96, 64)), epsilon=2.0**-53)
        found = Noise().analyze(scaled)
        assert text(found) == "initial (normal)"
        (fresh,) = (each for each in found.observations if each.code == "RA-FO-011")
        assert fresh.evidence["std"] == pytest.approx(factor, rel=0.05)
