"""What density claims about a matrix whose entries may be off: nothing beyond what the source says."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
import torch
from rich.console import Console

import rmtaudit
from rmtaudit.cli.density import _draw
from rmtaudit.cli.density_table import rounding_lines
from rmtaudit.engine.density import DensitySettings, WholeResult
from rmtaudit.engine.density.blocks import draw_blocks
from rmtaudit.engine.density.entries import REASONS, Entries, entries_of
from rmtaudit.engine.sources import SourceOptions
from rmtaudit.matrices.sources import Gram, KernelMatrix, Known, MatrixSource, Product, Reach, TensorSource
from rmtaudit.matrices.sources.known import FLOAT32_ROUNDING
from rmtaudit.report.document import dumps


class Exponential(MatrixSource):
    """``exp(-|i - j| / 9)`` from float32, of which a rounding may be declared."""

    def __init__(self, n: int, rounding: float | None) -> None:
        self.name, self.shape, self.rounding = "exponential", (n, n), rounding
        self.symmetric, self.reach = True, frozenset({Reach.BLOCK, Reach.MATMUL, Reach.PRINCIPAL})

    def known(self) -> Known:
        return Known(rounding=self.rounding)

    def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:
        distances = torch.arange(rows.start, rows.stop)[:, None] - torch.arange(cols.start, cols.stop)
        out.copy_(torch.exp(-distances.abs().float() / 9).double())

    def principal(self, indices: torch.Tensor) -> torch.Tensor:
        return torch.exp(-(indices[:, None] - indices[None]).abs().float() / 9).double()


def whole(source: Any, **settings: Any) -> WholeResult:
    result = rmtaudit.density(source, **settings)
    assert isinstance(result, WholeResult)
    return result


def bounds(document: Any) -> list[Any]:
    """Return every number of a document that bounds something."""
    prediction, ridge = document["prediction"], document["ridge"]
    numbers = [*prediction["functionals"].values(), *prediction["quantiles"], *prediction["atoms"]]
    numbers += [prediction["curve"], ridge["log_det"], ridge["effective_dimension"]]
    return [
        number[side] for number in numbers if number.get("value", 0.0) is not None for side in ("low", "high")
    ]


@pytest.mark.parametrize(
    ("rounding", "entries"),
    [(None, Entries.UNKNOWN), (FLOAT32_ROUNDING, Entries.COARSE), (8.0, Entries.FLOAT64)],
)
def test_eigenvalues_have_bounds_only_where_the_entries_have(
    rounding: float | None, entries: Entries
) -> None:
    result = whole(Exponential(120, rounding), method="eigenvalues", ridge=0.5)
    document = result.document
    json.loads(dumps(document))
    assert document["subject"]["rounding"] == {"status": entries.value, "reason": REASONS[entries]}
    assert document["verdict"]["reason"] == REASONS[entries]
    assert result.complete
    if entries is Entries.FLOAT64:
        assert result.verdict == "exact"
        assert None not in bounds(document)
    else:
        assert result.verdict == "computed"
        assert REASONS[entries].startswith("unknown")
        assert set(bounds(document)) == {None}
        assert document["prediction"]["intervals"]["confidence"] is None
        assert document["prediction"]["intervals"]["from"] == "not known"


def test_a_float32_kernel_is_not_called_exact() -> None:
    """Its mean log-eigenvalue is wrong in the seventh digit, where ``exact`` claims fifteen."""
    n = 300
    result = whole(Exponential(n, None), method="eigenvalues")
    distances = (torch.arange(n)[:, None] - torch.arange(n)).abs().double()
    true = float(torch.linalg.eigvalsh(torch.exp(-distances / 9)).log().mean())
    number = result.document["prediction"]["functionals"]["log_det"]
    assert abs(number["value"] - true) > 1e-8
    assert (number["low"], number["high"]) == (None, None)


@pytest.mark.parametrize("rounding", [None, FLOAT32_ROUNDING])
def test_products_keep_their_bounds_and_say_what_they_leave_out(rounding: float | None) -> None:
    document = whole(Exponential(40, rounding), method="products", steps=10, probes=4).document
    assert document["verdict"]["word"] == "measured"
    assert document["verdict"]["reason"].startswith("unknown")
    assert document["prediction"]["functionals"]["mean"]["low"] is not None


def test_blocks_say_it_too() -> None:
    facts = draw_blocks(Exponential(80, None), DensitySettings(size=100, sample=40, samples=2)).facts
    assert facts["rounding"]["status"] == "not known"
    assert dict(rounding_lines(facts["rounding"])) == {"rounding": REASONS[Entries.UNKNOWN]}


@pytest.mark.parametrize(("rounding", "shown"), [(None, True), (0.0, False)])
def test_the_table_says_it(rounding: float | None, shown: bool) -> None:
    text = table(whole(Exponential(60, rounding), method="eigenvalues", ridge=0.5).document)
    assert ("\nrounding" in text) is shown
    assert ("computed" in text.splitlines()[2]) is shown
    assert "does not state the error" in text or not shown


def test_what_is_made_of_others_says_what_they_do() -> None:
    weights = torch.randn(40, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = TensorSource(weights)
    points = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None]
    kernel = KernelMatrix(points, lambda x, y: (x @ y.T).exp())
    assert entries_of(exact) is Entries.FLOAT64
    assert entries_of(Gram(exact, "columns")) is Entries.FLOAT64
    assert entries_of(kernel) is Entries.UNKNOWN
    assert entries_of(Gram(kernel, "columns")) is Entries.UNKNOWN
    assert entries_of(Product(exact, TensorSource(weights.T.contiguous()))) is Entries.UNKNOWN
    gram = whole(Exponential(50, None), options=SourceOptions(view="wtw"))
    assert gram.verdict == "computed"
    shifted = whole(Exponential(50, None), options=SourceOptions(shift=1.0))
    assert shifted.verdict == "computed"


def test_a_law_that_is_a_point_is_refused() -> None:
    """Few rows of a slowly varying kernel: the law that fits is a point, which has no band."""
    result = rmtaudit.density(Exponential(300, 8.0), method="blocks", size=800)
    assert not result.answered
    assert result.verdict == "refused"


def table(document: Any) -> str:
    stream = io.StringIO()
    _draw(Console(file=stream, width=120), document)
    return stream.getvalue()
