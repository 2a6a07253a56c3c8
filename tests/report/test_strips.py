"""Strips along the depth: which layers share one, where their blocks stand, and what is drawn."""

from __future__ import annotations

from types import ModuleType

from msgspec.structs import replace

from rmtaudit.report.labels import labels_of
from rmtaudit.report.model import Report
from rmtaudit.report.overview import overview_of
from rmtaudit.report.strips import Place, Strip, drawn_metric, strips_of


def strips(report: Report) -> tuple[Strip, ...]:
    names = [layer.name for layer in report.layers]
    return strips_of(report, dict(zip(names, labels_of(names).texts, strict=True)))


def test_a_block_that_lacks_the_layer_leaves_a_gap(made: ModuleType) -> None:
    blocks = (10, 2, 3, 5, 6)
    (strip,) = strips(made.report(tuple(made.layer(f"h.{block}.attn.w", block / 2) for block in blocks)))
    assert (strip.role, strip.first, strip.last) == ("h.#.attn.w", 2, 10)
    assert [place.value if place else None for place in strip.places] == [
        1.0, 1.5, None, 2.5, 3.0, None, None, None, 5.0,
    ]  # fmt: skip
    assert (strip.least, strip.median, strip.greatest) == (1.0, 2.5, 5.0)


def test_a_hostile_role_is_printable(made: ModuleType) -> None:
    (strip,) = strips(made.report(tuple(made.layer(f"h.{n}.\x1b[31m.w") for n in range(4))))
    assert strip.role == "\\x1b[31m"


def test_a_hostile_role_without_a_rest_is_printable(made: ModuleType) -> None:
    (strip,) = strips(made.report(tuple(made.layer(f"\x1b[31m.{n}.w") for n in range(4))))
    assert strip.role.isprintable()


def test_where_two_numbers_count_the_order_of_the_names_is_the_depth(made: ModuleType) -> None:
    rows = tuple(
        made.layer(f"layer{stage}.{block}.conv1.weight", stage + block / 8)
        for stage in (2, 1)
        for block in (1, 0, 2)
    )
    (strip,) = strips(made.report(rows))
    assert (strip.first, strip.last) == (None, None)
    assert [place.value for place in strip.places if place] == [1.0, 1.125, 1.25, 2.0, 2.125, 2.25]


def test_three_layers_make_no_strip_and_kinds_are_not_mixed(made: ModuleType) -> None:
    rows = [made.layer(f"h.{block}.a.w", 2.0) for block in range(3)]
    rows += [made.layer(f"h.{block}.b.w", 2.0, kind=("dense", "gate")[block % 2]) for block in range(6)]
    assert strips(made.report(tuple(rows))) == ()


def test_alpha_is_compared_with_noise_also_in_reports_without_the_ratio(made: ModuleType) -> None:
    metrics = {"alpha": made.metric(3.0), "alpha_null": made.metric(6.0)}
    rows = tuple(made.layer(f"h.{block}.w", metrics=metrics) for block in range(4))
    report = made.report(rows)
    assert drawn_metric(report) == "vs_noise"
    (strip,) = strips(report)
    assert [place.value for place in strip.places if place] == [0.5] * 4
    assert strip.median == 3.0
    by_rank = replace(report, tool={**report.tool, "sort": "stable_rank"})
    assert drawn_metric(by_rank) == "stable_rank"
    assert drawn_metric(replace(report, tool={**report.tool, "sort": "layer"})) == "vs_noise"


def test_signs_are_shared_by_the_median_and_the_worst(made: ModuleType) -> None:
    error = (made.finding("RA-FO-001", "error", "rank."),)
    rows = tuple(made.layer(f"h.{n}.w", float(n), findings=error if n == 4 else ()) for n in range(7))
    (strip,) = strips(made.report(rows))
    assert strip.narrowed(7) == strip
    assert strip.narrowed(3).places == (
        Place(value=1.0, integrity="ok"),
        Place(value=4.0, integrity="damaged"),
        Place(value=6.0, integrity="ok"),
    )


def test_a_fresh_layer_of_a_trained_model_has_a_row(made: ModuleType) -> None:
    rows = tuple(
        made.layer(f"h.{n}.w", 2.0, verdict="initial (normal)" if n == 7 else "structured") for n in range(30)
    )
    view = overview_of(made.report(rows), None)
    assert [row.name for row in view.rows] == ["h.7.w"]
    assert (view.quiet, dict(view.hidden)) == (29, {})
    fresh = tuple(made.layer(f"h.{n}.w", 2.0, verdict="initial (normal)") for n in range(30))
    assert len(overview_of(made.report(fresh), None).rows) == 3
