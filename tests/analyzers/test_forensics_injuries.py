"""``forensics`` on injured layers: each injury is named with its number, several at once too."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from rmtaudit.analyzers.base import Observation
from rmtaudit.analyzers.contract import layer_input
from rmtaudit.analyzers.forensics import Forensics
from rmtaudit.analyzers.forensics.describe import RANDOM, STRUCTURED, random_half
from rmtaudit.kernels.forensics.line_order import line_order
from rmtaudit.kernels.forensics.tables import TABLES


def trained(rows: int = 192, cols: int = 128, seed: int = 0) -> torch.Tensor:
    """Return uneven rows and columns with a few strong directions."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    noise = normal(rows, cols) * (0.3 * normal(rows, 1)).exp() * (0.3 * normal(1, cols)).exp()
    return 0.02 * noise + 0.02 * normal(rows, 5) @ normal(5, cols)


def seen(W: torch.Tensor) -> Mapping[str, Observation]:
    return {each.code: each for each in Forensics().analyze(layer_input(W)).observations}


def nf4(W: torch.Tensor) -> torch.Tensor:
    levels = torch.tensor(TABLES["nf4"], dtype=torch.float32)
    lines = W.reshape(-1, 64)
    scale = lines.abs().amax(1, keepdim=True)
    places = torch.searchsorted((levels[1:] + levels[:-1]) / 2, (lines / scale).contiguous())
    return (levels[places] * scale).reshape(W.shape)


def flipped(W: torch.Tensor, count: int) -> torch.Tensor:
    flat = W.clone().reshape(-1)
    places = flat.nonzero().reshape(-1)
    flat.view(torch.int32)[places[:: len(places) // count]] ^= 1 << 30
    return flat.reshape(W.shape)


@pytest.mark.parametrize("seed", range(8))
def test_a_clean_layer_has_at_most_a_large_weight(seed: int) -> None:
    assert set(seen(trained(seed=seed))) <= {"RA-FO-026"}


def test_nf4_is_no_pruning() -> None:
    found = seen(nf4(trained()))
    assert set(found) == {"RA-FO-021"}
    assert (found["RA-FO-021"].evidence["table"], found["RA-FO-021"].evidence["group"]) == ("nf4", 64)


def test_clipping() -> None:
    W = trained()
    bound = float(2 * W.std())
    found = seen(W.clamp(-bound, bound))
    assert set(found) == {"RA-FO-022"}
    assert found["RA-FO-022"].evidence["high"] == pytest.approx(bound)


@pytest.mark.parametrize("count", [1, 20])
def test_flipped_bits_and_nothing_else(count: int) -> None:
    found = seen(flipped(trained(), count))
    assert set(found) - {"RA-FO-009", "RA-FO-026"} == {"RA-FO-023"}
    assert found["RA-FO-023"].evidence["count"] == pytest.approx(count, abs=1)


@pytest.mark.parametrize("factor", [100, 50])
@pytest.mark.parametrize("of", ["rows", "columns"])
def test_a_loud_line(of: str, factor: float) -> None:
    W = trained()
    (W if of == "rows" else W.T)[40] *= factor
    found = seen(W)["RA-FO-024"]
    assert (found.evidence["of"], found.evidence["positions"]) == (of, [40])


def test_one_giant_weight_makes_no_loud_line() -> None:
    W = trained()
    W[5, 6] = 10 * W.abs().max()
    found = seen(W)
    assert "RA-FO-024" not in found
    assert set(found) & {"RA-FO-006", "RA-FO-014", "RA-FO-025"}


def test_a_weight_above_a_heavy_tail_is_reported_by_its_ratio() -> None:
    generator = torch.Generator().manual_seed(4)
    W = trained().sign() / (1e-6 + torch.rand(192, 128, generator=generator)) ** 0.25
    W[5, 6] = 4 * W.abs().max()
    found = [each for code, each in seen(W).items() if code in {"RA-FO-025", "RA-FO-026"}]
    assert [each.evidence["positions"] for each in found] == [[[5, 6]]]
    assert found[0].evidence["ratio"] == pytest.approx(4)


def test_offset() -> None:
    W = trained()
    found = seen(W + W.std())
    assert found["RA-FO-027"].evidence["ratio"] == pytest.approx(1, abs=0.05)
    assert "RA-FO-027" not in seen(W + 0.2 * W.std())


def test_half_drawn_anew() -> None:
    W = trained()
    W[96:] = W.std() * torch.randn(96, 128, generator=torch.Generator().manual_seed(3))
    assert seen(W)["RA-FO-028"].evidence["half"] == "second"


@pytest.mark.parametrize("seed", [5, 44, 118, 119, 139, 158, 200, 208])
def test_a_weak_product_in_noise_is_no_half_drawn_anew(seed: int) -> None:
    """By chance one half of the rows looks random and the other trained: 24 of the seeds below 1500 do so."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(*shape, generator=generator) for shape in ((96, 2), (2, 64)))
    order = line_order(torch.randn(96, 64, generator=generator) + 0.23 * left @ right)
    random, trained = sorted(order.halves, key=lambda half: half.products)
    assert random.products < RANDOM
    assert trained.products > STRUCTURED
    assert random_half(order) is None


def test_half_of_a_weak_product_drawn_anew_is_found() -> None:
    found = 0
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        left, right = (torch.randn(*shape, generator=generator) for shape in ((192, 2), (2, 128)))
        W = torch.randn(192, 128, generator=generator) + 0.6 * left @ right
        W[:96] = W.std() * torch.randn(96, 128, generator=generator)
        found += random_half(line_order(W)) == "first"
    assert found >= 18


def test_rows_shuffled_within() -> None:
    W = trained()
    order = torch.rand(W.shape, generator=torch.Generator().manual_seed(3)).argsort(1)
    assert seen(W.gather(1, order))["RA-FO-029"].evidence["of"] == "rows"


def test_pruning_beside_dead_rows_gives_both_shares() -> None:
    W = trained()
    W[:20] = 0
    W[W.abs() <= W.abs().reshape(-1).kthvalue(int(0.3 * W.numel())).values] = 0
    found = seen(W)
    evidence = found["RA-FO-004"].evidence
    assert evidence["zero_share_of_all"] == pytest.approx(0.3, abs=1e-3)
    assert evidence["zero_share"] == pytest.approx((0.3 - 20 / 192) / (1 - 20 / 192), abs=1e-3)
    assert found["RA-FO-005"].evidence["dead_rows"] == 20


def test_two_of_four_is_seen_in_a_quantised_layer() -> None:
    W = trained()
    W.view(-1, 4).scatter_(1, W.view(-1, 4).abs().argsort(1)[:, :2], 0)
    step = W.abs().amax(1, keepdim=True) / 7
    found = seen((W / step).round() * step)
    assert found["RA-FO-002"].evidence["bits"] == 4
    assert found["RA-FO-004"].evidence["pattern"].startswith("2:4")


def test_several_at_once() -> None:
    W = nf4(trained())
    W[9] = 0
    W = flipped(W, 1)
    assert {"RA-FO-005", "RA-FO-021", "RA-FO-023"} <= set(seen(W))
