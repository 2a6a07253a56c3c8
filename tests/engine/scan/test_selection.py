"""``include`` and ``exclude``: which layers are analysed."""

from __future__ import annotations

import pytest
import torch

import rmtaudit
from rmtaudit.engine.resources.progress import Progress
from rmtaudit.errors import UsageError


def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "embed.weight": (60, 24),
        "layers.0.attn.q.weight": (24, 24),
        "layers.0.mlp.weight": (48, 24),
        "layers.1.attn.q.weight": (24, 24),
        "layers.1.attn.in_proj_weight": (72, 24),
        "norm.weight": (24,),
    }
    return {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}


def scan(**keywords: object) -> rmtaudit.Report:
    return rmtaudit.scan(state(), analyzers=["scale"], threads=1, **keywords)  # type: ignore[arg-type]


def analysed(report: rmtaudit.Report) -> list[str]:
    return [layer.name for layer in report.layers if layer.status == "ok"]


def test_included_layers_have_the_same_numbers_as_without_a_choice() -> None:
    every, some = scan(), scan(include=["*.attn.q.*"])
    assert analysed(some) == ["layers.0.attn.q.weight", "layers.1.attn.q.weight"]
    assert [layer.name for layer in some.layers] == [layer.name for layer in every.layers]
    numbers = {layer.name: layer.metrics for layer in every.layers}
    assert all(layer.metrics == numbers[layer.name] for layer in some.layers if layer.status == "ok")
    assert some.subject["digest"] == every.subject["digest"]
    assert some.tool["include"] == ["*.attn.q.*"]


def test_what_is_left_out_is_named_in_the_coverage() -> None:
    every, report = scan(), scan(exclude=["embed*", "*.mlp.*"])
    left = {tensor.name: tensor for tensor in report.coverage.skipped if tensor.skip == "excluded"}
    assert set(left) == {"embed.weight", "layers.0.mlp.weight"}
    assert left["embed.weight"].reason == "excluded: matches 'embed*' of exclude"
    assert report.coverage.parameters == every.coverage.parameters
    assert report.coverage.parameters_analyzed == every.coverage.parameters_analyzed - 60 * 24 - 48 * 24
    assert report.subject["warnings"] == []


def test_parts_of_a_tensor_are_chosen_one_by_one_or_with_their_tensor() -> None:
    assert analysed(scan(include=["*#k"])) == ["layers.1.attn.in_proj_weight#k"]
    assert len(analysed(scan(include=["layers.1.attn.in_proj_weight"]))) == 3
    some = analysed(scan(include=["*in_proj*"], exclude=["*#v"]))
    assert some == ["layers.1.attn.in_proj_weight#q", "layers.1.attn.in_proj_weight#k"]


def test_exclude_is_stronger_and_may_leave_nothing() -> None:
    report = scan(include=["*"], exclude=["*"])
    assert analysed(report) == []
    assert {layer.skip for layer in report.layers} == {"excluded"}


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        (["layers.0.attn.k.weight"], "Did you mean 'layers.0.attn.q.weight'?"),
        (["mlp"], "Did you mean '*mlp*'?"),
        (["norm.weight"], "The tensor 'norm.weight' is not analysed: vector"),
        (["zzz", "yyy"], "No layer matches 'zzz' or 'yyy' of include."),
    ],
)
def test_an_include_that_matches_nothing_is_an_error_that_helps(patterns: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        scan(include=patterns)
    assert caught.value.code == "RA-US-114"
    assert words in caught.value.message


def test_a_pattern_without_effect_is_noted() -> None:
    report = scan(include=["embed*", "encoder.*"], exclude=["head*"])
    assert report.subject["warnings"] == [
        "'encoder.*' of include matches no layer.",
        "'head*' of exclude matches no layer.",
    ]
    assert analysed(report) == ["embed.weight"]


def test_progress_counts_the_chosen_layers_alone() -> None:
    steps: list[Progress] = []
    rmtaudit.scan(state(), analyzers=["scale"], threads=1, include=["*.attn.*"], progress=steps.append)
    assert [step.done for step in steps] == [1, 2, 3, 4, 5]
    assert {step.total for step in steps} == {5}
    assert steps[-1].parameters_done == steps[-1].parameters_total
