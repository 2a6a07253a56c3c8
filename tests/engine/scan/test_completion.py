"""Every row of a report has every metric, and its size."""

from __future__ import annotations

import torch

import rmtaudit


def report() -> rmtaudit.Report:
    generator = torch.Generator().manual_seed(0)
    state = {f"layers.{place}.weight": torch.randn(40, 30, generator=generator) for place in range(3)}
    state["layers.1.weight"][0, 0] = torch.inf
    state["layers.3.weight"] = state["layers.0.weight"].clone()
    state["half.weight"] = torch.randn(40, 30, generator=generator).half()
    state["norm.weight"] = torch.ones(40)
    return rmtaudit.scan(state, analyzers=["scale", "powerlaw", "predicted"], threads=1, exclude=["*.2.*"])


def test_every_row_has_every_metric() -> None:
    made = report()
    assert all(list(layer.metrics) == list(made.metrics) for layer in made.layers)
    rows = {layer.name: layer for layer in made.layers}
    for name, status in (("layers.1", "failed"), ("layers.2", "skipped"), ("layers.3", "skipped")):
        row = rows[f"{name}.weight"]
        assert row.status == status
        assert {(each.value, each.status, each.reason) for each in row.metrics.values()} == {
            (None, status, row.reason)
        }
    assert made.summary["alpha"].n == 2
    assert (made.summary["alpha"].n_failed, made.summary["alpha"].n_skipped) == (1, 0)


def test_sizes_are_those_of_the_stored_values() -> None:
    made = report()
    sizes = {layer.name: layer.bytes for layer in made.layers}
    assert sizes["half.weight"] == 40 * 30 * 2
    assert sizes["layers.1.weight"] == 40 * 30 * 4
    assert made.subject["bytes"] == 4 * 4 * 40 * 30 + 2 * 40 * 30 + 4 * 40


def test_findings_are_listed_with_their_layers_and_grouped_by_cause() -> None:
    made = report()
    assert [(each.severity, each.code, each.layer) for each in made.findings] == [
        ("error", "RA-SC-001", "layers.1.weight"),
        ("error", "RA-MO-001", "layers.3.weight"),
    ]
    of_layers = {(found.code, found.message) for layer in made.layers for found in layer.findings}
    assert {(each.code, each.message) for each in made.findings} == of_layers
    assert {each.code for each in made.causes} == {each.code for each in made.findings}
    assert all(each.evidence["layers"] == [each.layer] for each in made.findings)
