"""Inner products of Jacobians from their factors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.ntk import (
    Factors,
    Lookup,
    Piece,
    Rows,
    contract,
    factors_are_cheaper,
    factors_are_kept,
    jacobian,
    products,
)
from rmtaudit.kernels.ntk.costs import Contraction, route_of

sides = st.integers(1, 4)


def factors(
    generator: torch.Generator, samples: int, outputs: int, positions: int, width: int, inputs: int
) -> Factors:
    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return Factors(
        inputs=normal(samples, positions, inputs), gradients=normal(samples, outputs, positions, width)
    )


def lookup(
    generator: torch.Generator, samples: int, outputs: int, positions: int, width: int, rows: int
) -> Lookup:
    return Lookup(
        rows=torch.randint(-1, rows, (samples, positions), generator=generator),
        gradients=torch.randn((samples, outputs, positions, width), generator=generator, dtype=torch.float64),
    )


def expected(first: Piece, second: Piece, rows: int = 0) -> torch.Tensor:
    left, right = jacobian(first, rows=rows).values, jacobian(second, rows=rows).values
    return torch.einsum("akp,blp->akbl", left, right)


@settings(max_examples=40, deadline=None)
@given(sides, sides, sides, sides, sides, sides, sides, st.integers(0, 99))
def test_factors(
    samples: int, others: int, outputs: int, positions: int, more: int, width: int, inputs: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    first = factors(generator, samples, outputs, positions, width, inputs)
    second = factors(generator, others, outputs, more, width, inputs)
    torch.testing.assert_close(contract(first, second), expected(first, second))
    one = Factors(inputs=first.inputs[:, :1], gradients=first.gradients[:, :, :1])
    torch.testing.assert_close(contract(one, one), expected(one, one))


@settings(max_examples=40, deadline=None)
@given(sides, sides, sides, sides, sides, sides, st.integers(1, 5), st.integers(0, 99))
def test_tables_and_tables_that_are_also_linear_maps(
    samples: int, others: int, outputs: int, positions: int, more: int, width: int, rows: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    table = lookup(generator, samples, outputs, positions, width, rows)
    other = lookup(generator, others, outputs, more, width, rows)
    torch.testing.assert_close(contract(table, other), expected(table, other, rows))
    linear = factors(generator, others, outputs, more, rows, width)  # its weight is (rows, width)
    product = torch.einsum("akp,blp->akbl", jacobian(linear).values, jacobian(table, rows=rows).values)
    torch.testing.assert_close(contract(linear, table), product)
    torch.testing.assert_close(contract(table, linear), product.permute(2, 3, 0, 1))


def test_a_jacobian_of_factors_is_the_sum_of_outer_products() -> None:
    generator = torch.Generator().manual_seed(0)
    piece = factors(generator, 2, 3, 4, 5, 6)
    true = torch.einsum("aktw,ati->akwi", piece.gradients, piece.inputs).flatten(2)
    torch.testing.assert_close(jacobian(piece).values, true)
    table = lookup(generator, 2, 3, 4, 5, 6)
    hot = torch.nn.functional.one_hot(table.rows.clamp(min=0), 6) * (table.rows >= 0)[:, :, None]
    true = torch.einsum("aktw,atr->akrw", table.gradients, hot.double()).flatten(2)
    torch.testing.assert_close(jacobian(table, rows=6).values, true)


def test_pieces_of_different_kinds_have_no_inner_products() -> None:
    rows = Rows(values=torch.ones(1, 1, 2))
    with pytest.raises(TypeError, match="no inner products"):
        contract(rows, factors(torch.Generator(), 1, 1, 1, 1, 2))


def test_a_block_with_itself_is_one_half_and_its_mirror_image() -> None:
    generator = torch.Generator().manual_seed(3)
    few = factors(generator, 37, 8, 2, 5, 40)
    many = factors(generator, 37, 8, 12, 2, 3)
    assert route_of(few, few) is Contraction.FACTORS
    assert route_of(many, many) is Contraction.JACOBIANS
    pieces: list[Piece] = [few, many, factors(generator, 37, 8, 1, 4, 3), lookup(generator, 37, 8, 5, 2, 4)]
    pieces.append(jacobian(few))
    for piece in pieces:
        kernel = contract(piece, piece)
        torch.testing.assert_close(kernel, expected(piece, piece, 4))
        square = kernel.reshape(296, 296)
        torch.testing.assert_close(square, square.T, rtol=1e-13, atol=1e-13)


def test_jacobians_are_formed_by_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(4)
    first, second = (factors(generator, samples, 3, 4, 7, 5) for samples in (6, 4))
    true = expected(first, second)
    for entries in (1, 200, 1 << 19):
        monkeypatch.setattr(products, "_PANEL", entries)
        torch.testing.assert_close(products.by_jacobians(first, second), true)


def test_large_sets_are_divided() -> None:
    generator = torch.Generator().manual_seed(1)
    first, second = (factors(generator, 40, 2, 60, 3, 2) for _ in range(2))
    torch.testing.assert_close(contract(first, second), expected(first, second))


@pytest.mark.parametrize(
    ("positions", "inputs", "width", "outputs", "cheaper"),
    [
        (1, 512, 512, 10, True),
        (1, 1, 1, 1, False),
        (16, 2304, 256, 10, True),  # a wide convolution
        (64, 9, 32, 10, False),  # the first convolution of a small network
        (16, 288, 32, 1, False),
        (4, 2304, 256, 1, True),
    ],
)
def test_which_route_is_cheaper(positions: int, inputs: int, width: int, outputs: int, cheaper: bool) -> None:
    assert factors_are_cheaper(positions=positions, inputs=inputs, width=width, outputs=outputs) is cheaper


@pytest.mark.parametrize(
    ("positions", "inputs", "width", "outputs", "kept"),
    [
        (8, 64, 64, 10, True),  # a transformer: small, and formed again for every product
        (64, 9, 32, 10, False),  # the first convolution: the Jacobian is smaller
        (16, 2304, 256, 10, True),
    ],
)
def test_what_is_held(positions: int, inputs: int, width: int, outputs: int, kept: bool) -> None:
    assert factors_are_kept(positions=positions, inputs=inputs, width=width, outputs=outputs) is kept


def test_few_samples_do_not_repay_their_jacobians() -> None:
    shape = {"positions": 64, "inputs": 300, "width": 64, "outputs": 8}
    assert not factors_are_cheaper(**shape)
    assert factors_are_cheaper(**shape, samples=1)
