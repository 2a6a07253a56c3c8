"""Constants of the architecture by value, in the layouts that models store, and weights that are none."""

from __future__ import annotations

import math

import pytest
import torch

from rmtaudit.kernels.constants import Constant, recognise_constant
from rmtaudit.kernels.constants.grids import is_coordinate_grid

SINGLE = 2.0**-24


def positions(length: int, width: int) -> torch.Tensor:
    """Return the table of *Attention is all you need*: sines and cosines in turn."""
    table = torch.zeros(length, width)
    places = torch.arange(length).unsqueeze(1)
    frequencies = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    table[:, 0::2], table[:, 1::2] = torch.sin(places * frequencies), torch.cos(places * frequencies)
    return table


def halves(table: torch.Tensor) -> torch.Tensor:
    return torch.cat([table[:, 0::2], table[:, 1::2]], 1)


def over_grid(side: int, width: int) -> torch.Tensor:
    """Return the two-dimensional table of vision transformers, one row a patch."""
    one = positions(side, width // 2)
    return torch.cat([one.repeat_interleave(side, 0), one.repeat(side, 1)], 1)


def fourier(length: int, window: bool) -> torch.Tensor:
    angles = 2 * math.pi * torch.outer(torch.arange(length // 2 + 1), torch.arange(length)) / length
    basis = torch.cat([angles.cos(), angles.sin()])[:, None]
    return basis * torch.hann_window(length) if window else basis


def mel_filters() -> torch.Tensor:
    centres = 80 * torch.linspace(0, 1, 82) ** 2
    bins = torch.linspace(0, 80, 201)[:, None]
    up = (bins - centres[:-2]) / (centres[1:-1] - centres[:-2])
    down = (centres[2:] - bins) / (centres[2:] - centres[1:-1])
    return torch.minimum(up, down).clamp(min=0)[:, 20:]


def swin_index(window: int) -> torch.Tensor:
    one = torch.arange(window)
    grid = torch.stack(torch.meshgrid(one, one, indexing="ij")).flatten(1)
    apart = grid[:, :, None] - grid[:, None, :] + window - 1
    return (apart[0] * (2 * window - 1) + apart[1]).float()


def gaussian_blur(size: int) -> torch.Tensor:
    one = torch.exp(-((torch.arange(size) - size // 2) ** 2) / 4.0)
    kernel = torch.outer(one, one) / one.sum() ** 2
    return kernel.repeat(3, 1, 1, 1)


def coupling_of_vectors() -> torch.Tensor:
    """Return the Wigner 3j symbols for l = 1, 1, 1: the cross product."""
    tensor = torch.zeros(3, 3, 3)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        tensor[i, j, k], tensor[j, i, k] = 1.0, -1.0
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0))).Q
    return torch.einsum("ia,jb,kc,abc->ijk", turn, turn, turn, tensor) / math.sqrt(6)


def alibi(heads: int, length: int) -> torch.Tensor:
    """Return the distances times a slope a head of *Train short, test long*."""
    slopes = 2.0 ** (-8 * torch.arange(1, heads + 1) / heads)
    place = torch.arange(length)
    return -slopes[:, None, None] * (place[:, None] - place).abs()


def haar(size: int) -> torch.Tensor:
    if size == 1:
        return torch.ones(1, 1)
    coarse = torch.kron(haar(size // 2), torch.tensor([[1.0, 1.0]]))
    fine = torch.kron(torch.eye(size // 2), torch.tensor([[1.0, -1.0]]))
    return torch.cat([coarse, fine]) / math.sqrt(2)


TRIL = torch.ones(40, 40).tril()
SOBEL = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])


def centres(*maps: tuple[int, int], boxes: int = 3) -> torch.Tensor:
    """Centres of the prior boxes of a detector, for maps of so many rows and columns in turn."""
    points = [
        torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij"), -1).flip(-1)
        for rows, cols in maps
    ]
    places = [
        ((each + 0.5) / torch.tensor([cols, rows])).reshape(-1, 2)
        for each, (rows, cols) in zip(points, maps, strict=True)
    ]
    return torch.cat(places).repeat_interleave(boxes, 0).float()


def corners(rows: int, cols: int, stride: int) -> torch.Tensor:
    """Anchors as torchvision makes them: corners x1, y1, x2, y2 of nine boxes at every place."""
    sizes = torch.tensor([[a, b] for a in (11.3, 22.6, 45.3) for b in (16.0, 32.0, 64.0)])
    y, x = torch.meshgrid(torch.arange(rows) * stride, torch.arange(cols) * stride, indexing="ij")
    shifts = torch.stack((x, y, x, y), -1).reshape(-1, 1, 4).float()
    return (shifts + torch.cat((-sizes / 2, sizes / 2), 1)).reshape(-1, 4)


def log_spaced(window: int) -> torch.Tensor:
    """``relative_coords_table`` of Swin Transformer V2 (timm and transformers)."""
    side = torch.arange(1 - window, window).float()
    table = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1)[None] / (window - 1) * 8
    return table.sign() * torch.log2(table.abs() + 1) / math.log2(8)


MAPS = ((30, 40), (15, 20), (8, 10), (4, 5))
CONSTANTS = {
    "prior boxes of four scales": (centres(*MAPS), Constant.GRID),
    "prior boxes with a batch side": (centres(*MAPS)[None], Constant.GRID),
    "prior boxes, coordinates first": (centres(*MAPS).T, Constant.GRID),
    "prior boxes with sizes": (
        torch.cat(
            [
                centres((19, 19), boxes=4),
                torch.tensor([[0.1, 0.2], [0.2, 0.1], [0.3, 0.3], [0.1, 0.4]]).repeat(361, 1),
            ],
            1,
        ),
        Constant.GRID,
    ),
    "anchors": (corners(25, 38, 16), Constant.GRID),
    "log-spaced coordinates": (log_spaced(8), Constant.GRID),
    "log-spaced coordinates of a large window": (log_spaced(24), Constant.GRID),
    "a mesh of coordinates": (
        torch.stack(torch.meshgrid(torch.linspace(0, 1, 20), torch.linspace(-1, 1, 30), indexing="ij"), -1),
        Constant.GRID,
    ),
    "sines in turn": (positions(256, 96), Constant.SINUSOID),
    "with a batch side": (positions(256, 96)[None], Constant.SINUSOID),
    "with a middle side": (positions(256, 96)[:, None], Constant.SINUSOID),
    "transposed": (positions(256, 96).T, Constant.SINUSOID),
    "scaled": (0.02 * positions(256, 96), Constant.SINUSOID),
    "halves": (halves(positions(256, 96)), Constant.SINUSOID),
    "zero padding row": (torch.cat([torch.zeros(1, 96), positions(256, 96)]), Constant.SINUSOID),
    "long": (positions(5000, 32), Constant.SINUSOID),
    "over a grid": (over_grid(14, 64), Constant.SINUSOID),
    "over a grid, as an image": (over_grid(16, 64).T.reshape(1, 64, 16, 16), Constant.SINUSOID),
    "in bfloat16": (positions(256, 96).bfloat16().float(), Constant.SINUSOID),
    "in float16": (positions(256, 96).half().float(), Constant.SINUSOID),
    "rotary": (torch.outer(torch.arange(512.0), 10000 ** (-torch.arange(32) / 32)).cos(), Constant.SINUSOID),
    "Fourier basis": (fourier(64, window=False), Constant.SINUSOID),
    "short-time Fourier basis": (fourier(400, window=True), Constant.SINUSOID),
    "some of its bands": (fourier(400, window=True)[7:190:11], Constant.FOURIER_BASIS),
    "ramp": (torch.linspace(-1, 1, 64) + torch.linspace(0, 1, 64)[:, None], Constant.LINEAR_TABLE),
    "mel filters": (mel_filters(), Constant.FILTER_BANK),
    "mel filters, transposed": (mel_filters().T, Constant.FILTER_BANK),
    "lower triangle": (TRIL, Constant.CAUSAL_MASK),
    "upper triangle": (1 - TRIL, Constant.CAUSAL_MASK),
    "a triangle a head": (TRIL.repeat(3, 1, 1), Constant.CAUSAL_MASK),
    "minus infinity": (torch.zeros(40, 40).masked_fill(TRIL == 0, -math.inf), Constant.CAUSAL_MASK),
    "minus a large number": ((1 - TRIL) * -1e9, Constant.CAUSAL_MASK),
    "shifted windows": (torch.block_diag(*[torch.ones(8, 8)] * 4) * 100 - 100, Constant.MASK),
    "sliding window": (torch.ones(40, 40).tril(3).triu(-3), Constant.MASK),
    "identity": (torch.eye(40), Constant.IDENTITY),
    "scaled identity": (2 * torch.eye(40), Constant.IDENTITY),
    "diagonal": (torch.diag(torch.arange(1.0, 41)), Constant.DIAGONAL),
    "permutation": (torch.eye(40).roll(7, 0), Constant.PERMUTATION),
    "position ids": (torch.arange(512.0).repeat(4, 1), Constant.INDEX_TABLE),
    "relative positions of windows": (swin_index(7), Constant.INDEX_TABLE),
    "coordinates of columns": (torch.linspace(-1, 1, 64).repeat(48, 1), Constant.LINEAR_TABLE),
    "bucketed relative positions": (
        (torch.arange(64)[None] - torch.arange(64)[:, None]).clamp(-20, 20).float(),
        Constant.INDEX_TABLE,
    ),
    "blur": (gaussian_blur(7), Constant.FIXED_KERNEL),
    "Sobel": (torch.stack([SOBEL, SOBEL.T])[:, None], Constant.FIXED_KERNEL),
    "resampling filter": (torch.sinc(torch.linspace(-4, 4, 41)).repeat(8, 1, 1), Constant.FIXED_KERNEL),
    "slopes of ALiBi that are powers of 2": (alibi(8, 64), Constant.LINEAR_TABLE),
    "slopes of ALiBi": (alibi(12, 48), Constant.LINEAR_TABLE),
    "slopes of ALiBi for one query": (alibi(8, 64)[:, :1], Constant.LINEAR_TABLE),
    "slopes of ALiBi with a causal mask": (
        alibi(12, 40).masked_fill(TRIL == 0, -math.inf),
        Constant.CAUSAL_MASK,
    ),
    "slopes of ALiBi with a large number": (
        alibi(8, 40).masked_fill(TRIL == 0, -1e9),
        Constant.CAUSAL_MASK,
    ),
    "Haar wavelets": (haar(16), Constant.HAAR),
    "Haar wavelets as columns": (haar(8).T, Constant.HAAR),
    "Haar wavelets of one size": (haar(64) / haar(64).abs().amax(1, keepdim=True), Constant.HAAR),
    "Wigner 3j": (coupling_of_vectors(), Constant.WIGNER),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_are_recognised(name: str) -> None:
    tensor, constant = CONSTANTS[name]
    assert recognise_constant(tensor.contiguous(), SINGLE) is constant


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def with_entry(tensor: torch.Tensor, value: float) -> torch.Tensor:
    return tensor.index_put((torch.tensor(9), torch.tensor(9)), torch.tensor(value))


def with_column(tensor: torch.Tensor, factor: float) -> torch.Tensor:
    return torch.cat([tensor[:, :7], factor * tensor[:, 7:8], tensor[:, 8:]], 1)


def with_row(tensor: torch.Tensor, index: int) -> torch.Tensor:
    return torch.cat([tensor[:index], 1.01 * tensor[index : index + 1], tensor[index + 1 :]])


SMOOTH = normal(512, 64).cumsum(0)
STEPS = normal(400, 2).cumsum(0)
WEIGHTS = {
    "positions in two dimensions": STEPS,
    "positions in two dimensions, on a grid of 8 bits": (STEPS / STEPS.abs().max() * 127).round() / 127,
    "points on a coarse lattice": (4 * normal(4000, 2)).round() / 16,
    "positions of a grid that were trained": centres(*MAPS) + 1e-3 * normal(4800, 2),
    "prior boxes, one of them moved": with_row(centres(*MAPS), 2000),
    "prior boxes, shuffled": centres(*MAPS)[torch.randperm(4800, generator=torch.Generator().manual_seed(1))],
    "lists of pairs of values": torch.tensor([[0.25, 0.5], [0.75, 0.125]]).repeat(100, 1),
    "axial positions": torch.stack((normal(20, 1).expand(20, 30), normal(1, 30).expand(20, 30)), -1),
    "noise": normal(64, 64),
    "convolution": normal(64, 32, 3, 3),
    "depth-wise convolution": normal(64, 1, 3, 3),
    "noise in bfloat16": normal(64, 64).bfloat16().float(),
    "integers": (30 * normal(64, 64)).round(),
    "ternary": normal(64, 64).round().clamp(-1, 1),
    "signs": normal(64, 64).sign(),
    "non-negative": normal(64, 64).relu(),
    "sparse": normal(64, 64) * (normal(64, 64) > 2),
    "smooth positions": SMOOTH,
    "smooth positions in bfloat16": SMOOTH.bfloat16().float(),
    "nearly a sinusoid": positions(256, 96) + 0.01 * normal(256, 96),
    "nearly a sinusoid in bfloat16": (positions(256, 96) + 0.1 * normal(256, 96)).bfloat16().float(),
    "nearly a blur": gaussian_blur(7) * (1 + 1e-3 * normal(3, 1, 7, 7)),
    "nearly diagonal": torch.eye(40) + 1e-6 * normal(40, 40),
    "one value": torch.ones(8, 8),
    "vector": torch.arange(64.0)[None],
    "Dirac kernel": torch.nn.init.dirac_(torch.empty(16, 16, 3, 3)),
    "orthonormal cosines": torch.cos(math.pi / 64 * torch.outer(torch.arange(1, 40), torch.arange(64) + 0.5)),
    "infinite weights": normal(8, 8).masked_fill(torch.eye(8) > 0, -math.inf),
    "not a number": torch.eye(9).masked_fill(torch.eye(9) > 0, math.nan),
    "a corner of minus infinity": normal(9, 9).index_put(
        (torch.tensor(0), torch.tensor(8)), torch.tensor(-1e9)
    ),
    "a triangle of large weights": normal(40, 40) - 1e3 * (1 - torch.ones(40, 40).tril()),
    "lines on a coarse grid": (4 * normal(64, 64)).round() / 16,
    "lines with two bends": (torch.arange(64) % 24).float() * 2.0 ** normal(16, 1).round(),
    "Hadamard": torch.kron(haar(2), torch.kron(haar(2), haar(2))),
    "sparse signs": torch.eye(16) - torch.eye(16).roll(3, 0) + torch.eye(16).roll(5, 0),
    "odd sides": normal(3, 5, 7),
    "a loud column": with_column(normal(192, 128), 1e5),
    "a very loud column": with_column(normal(192, 128), 1e9),
    "a very loud row": with_column(normal(192, 128), 1e9).T.contiguous(),
    "a column of one giant value": with_column(normal(192, 128), 0) + 1e4 * torch.eye(128)[7],
    "rows of one value": normal(192, 1).expand(192, 128).contiguous(),
    "equal rows": normal(1, 128).expand(192, 128).contiguous(),
    "a sinusoid with a flipped bit": with_entry(positions(256, 96), 1e30),
    "a Fourier basis with a giant entry": with_entry(fourier(400, window=True)[7:190:11, 0], 100.0),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_no_constants(name: str) -> None:
    assert recognise_constant(WEIGHTS[name], SINGLE) is None


def test_a_grid_is_recognised_at_the_precision_that_it_is_stored_in() -> None:
    half = centres(*MAPS).half().float()
    assert recognise_constant(half, 2.0**-11) is Constant.GRID
    assert not is_coordinate_grid(half, SINGLE)
    assert not is_coordinate_grid(normal(25, 2).repeat_interleave(16, 0), SINGLE)


def short_time_fourier(length: int) -> torch.Tensor:
    time = torch.arange(length, dtype=torch.float64)
    angles = 2 * torch.pi / length * time[: length // 2 + 1, None] * time
    window = torch.hann_window(length, dtype=torch.float64)
    return torch.cat([window * angles.cos(), -window * angles.sin()]).float()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_short_time_fourier_basis_is_recognised_in_half_precision(dtype: torch.dtype) -> None:
    basis = short_time_fourier(256).to(dtype).float()
    words = (Constant.FOURIER_BASIS, Constant.SINUSOID)  # bfloat16 does not resolve the window
    assert recognise_constant(basis, SINGLE) in words
    assert recognise_constant(basis[:129], SINGLE) in words
    trained = (basis + 0.02 * normal(258, 256)).to(dtype).float()
    assert recognise_constant(trained, SINGLE) is None
