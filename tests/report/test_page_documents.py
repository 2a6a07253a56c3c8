"""The pages of gates and of zoos: structure, contents, and that no text becomes markup."""

from __future__ import annotations

from types import ModuleType

import gates
import pytest
from clock import Clock
from msgspec.structs import replace
from pages import Page, require_sound
from rankings import ranking
from zoos import zoo

from rmtaudit.names import display_name
from rmtaudit.report.numbers import format_value
from rmtaudit.report.page.gate import gate_page
from rmtaudit.report.page.graph import graph_svg
from rmtaudit.report.page.ranking import ranking_page
from rmtaudit.report.page.zoo import zoo_page
from rmtaudit.report.ranking_text import answer_sentence
from rmtaudit.report.writers.gate import GateResult, gate_writer
from rmtaudit.report.zoo import Relation

ATTACKS = ("</style><script>alert(1)</script>", '" onclick="x', "{{7*7}}{% raw %}", "<svg onload=x>", "-->")


def test_a_gate_says_the_verdict_the_policy_and_what_failed() -> None:
    document = gates.document(
        gates.subject(gates.check(), gates.check("h.1.weight", outcome="passed")), gates.unreadable()
    )
    page = Page(gate_writer("html")(GateResult(document=document)))
    require_sound(page)
    words = page.words
    for text in (
        "Unreadable",
        "standard 1",
        "1 failed, 1 passed",
        "Damage has no innocent explanation.",
        "6.500 to 8.000",
        "2 more pieces of evidence.",
        "1.0 % of healthy models",
        "a Git LFS pointer: 130 bytes. Run: git lfs pull",
        "2025-01-01, expired",
    ):
        assert text in words, text


@pytest.mark.parametrize("attack", [*ATTACKS, *gates.HOSTILE])
def test_no_text_of_a_gate_becomes_markup(attack: str) -> None:
    calm, hostile = (Page(gate_page(gates.hostile(name))) for name in ("x" * 9, attack))
    require_sound(hostile)
    assert hostile.tags == calm.tags
    assert hostile.attributes <= calm.attributes
    assert all(text.isprintable() or text.isspace() for text in hostile.texts)


def test_a_zoo_says_what_came_of_its_models(made: ModuleType) -> None:
    page = Page(zoo_page(zoo(60, made.report().tool)))
    require_sound(page)
    words = page.words
    for text in ("60 models", "damaged", "could not be audited", "No such file.", "alpha against parameters"):
        assert text in words, text
    assert "accuracy against parameters" in words  # the size alone is the first
    assert words.index("accuracy against parameters") < words.index("accuracy against alpha")
    assert "Trees of related models" in " ".join(each.get("aria-label") or "" for each in page.all("svg"))
    assert len(page.all("tr")) == 1 + 60 + 1 + 3 + 1 + 48


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_text_of_a_zoo_becomes_markup(made: ModuleType, attack: str) -> None:
    tool = made.report().tool
    calm, hostile = (Page(zoo_page(zoo(30, tool, hostile=name))) for name in ("x" * 9, attack))
    require_sound(hostile)
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in calm.elements]
    assert [sorted(each) for _, each in hostile.elements] == [sorted(each) for _, each in calm.elements]
    assert " ".join(f"model-3{display_name(attack)}".split()) in hostile.words


def test_an_empty_zoo_has_a_page(made: ModuleType) -> None:
    page = Page(zoo_page(zoo(0, made.report().tool)))
    require_sound(page)
    assert "0 models" in page.words


def test_the_page_of_10_000_models_takes_less_than_3_s(made: ModuleType) -> None:
    many = zoo(10_000, made.report().tool)
    zoo_page(zoo(3, made.report().tool))  # templates are compiled once
    clock = Clock()
    page = zoo_page(many)
    assert clock.seconds() < 3
    assert len(page) < 25_000_000


def test_a_ranking_says_whether_a_metric_adds_to_size() -> None:
    ranked = ranking(30)
    page = Page(ranking_page(ranked))
    require_sound(page)
    words = page.words
    for text in (
        "30 models ranked",
        "2 without a report or a metric were excluded",
        " ".join(answer_sentence(ranked, ranked.measures[0]).split()),
        "Simpson's paradox",
        "Family resnet, 10 models, the most parameters first",
        "Models without a family, 10 models, the most parameters first",
        "place in the family: 1 has the largest value",
        "quality, higher is better",
    ):
        assert text in words, text
    assert words.index("accuracy against parameters") < words.index("accuracy against alpha")
    assert "alpha against parameters" in words
    assert len(page.all("tr")) == (1 + 3) + 3 * (1 + 10)  # parameters and two metrics; three families
    best = max(ranked.families[1].models, key=lambda model: model.metrics["alpha"].value)
    assert f"{format_value(best.metrics['alpha'].value)} (1)" in words


def test_a_ranking_without_quality_says_so_and_has_no_tau() -> None:
    page = Page(ranking_page(ranking(6, judged=False)))
    require_sound(page)
    assert "No model has a measured quality" in page.words
    assert "Kendall" not in page.words
    assert "alpha against parameters" in page.words


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_text_of_a_ranking_becomes_markup(attack: str) -> None:
    calm, hostile = (Page(ranking_page(ranking(12, hostile=name))) for name in ("x" * 9, attack))
    require_sound(hostile)
    kinds = [sorted((tag, sorted(each)) for tag, each in page.elements) for page in (calm, hostile)]
    assert kinds[0] == kinds[1]  # the names decide the order of the families
    assert " ".join(f"model-3{display_name(attack)}".split()) in hostile.words


def test_the_page_of_10_000_ranked_models_takes_less_than_3_s() -> None:
    few = ranking(8, judged=False)
    ranking_page(few)  # templates are compiled once
    (model,) = few.families[0].models[:1]
    models = tuple(replace(model, name=f"model-{at}") for at in range(12_000))
    many = replace(few, families=(replace(few.families[0], models=models),))
    clock = Clock()
    page = ranking_page(many)
    assert clock.seconds() < 3
    assert "2,000 more models are in the JSON document." in page
    assert page.count("<tr") == 1 + 10_000


def test_trees_hang_on_what_the_others_were_made_from() -> None:
    def edge(first: str, second: str, source: str | None) -> Relation:
        return Relation(
            first=first, second=second, kind="derived", source=source, tree=True, shared=0.0, evidence=None
        )

    drawing, hidden = graph_svg([edge("tuned", "base", "base"), edge("base", "int8", "base")])
    assert drawing is not None
    assert hidden == 0
    assert drawing.index("base") < drawing.index("int8") < drawing.index("tuned")
    assert drawing.count('class="edge"') == 2
    assert graph_svg([]) == (None, 0)
    circle = [edge(str(at), str((at + 1) % 300), None) for at in range(300)]
    drawing, hidden = graph_svg(circle)
    assert hidden == 150
