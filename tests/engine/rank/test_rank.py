"""Ranking of models: against scipy on the same numbers, what is refused, and what is never claimed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import jsonschema
import numpy as np
import pytest
from clock import Clock
from msgspec import structs
from scipy import stats

from rmtaudit.engine.rank.answer import rank_models
from rmtaudit.engine.rank.models import Model, Models, read_models
from rmtaudit.errors import InputError, NothingAuditableError, UsageError
from rmtaudit.report.document import dumps
from rmtaudit.report.ranking import Answer, Ranking, ranking_schema
from rmtaudit.report.ranking_text import answer_sentence, format_p, markdown, reversal_sentences
from rmtaudit.report.verdict import UNJUDGED, UNREAD
from rmtaudit.report.zoo import ZOO_HEADER, ModelMetric, Quality, Zoo, ZooModel, ZooRun

HERE = Path("zoo")


def models_of(
    size: Sequence[float], quality: Sequence[float], alpha: Sequence[float], families: Sequence[str] = ()
) -> Models:
    rows = zip(size, quality, alpha, families or [""] * len(size), strict=True)
    models = tuple(
        Model(
            name=f"model {place}",
            family=family,
            parameters=int(1000 * (parameters + 20)),
            metrics={"alpha": value, "stable_rank": float(place % 3)},
            quality={"accuracy": Quality(value=good, higher_is_better=True)},
        )
        for place, (parameters, good, value, family) in enumerate(rows)
    )
    return Models(models, ("alpha", "stable_rank", "kind"), 1)


def only(ranking: Ranking) -> tuple[float | None, float | None, Answer]:
    (measure,) = ranking.measures
    given = measure.metrics[0].given_size
    assert given is not None
    return measure.metrics[0].alone.tau, given.tau, measure.answer


def test_taus_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    size, quality, alpha = rng.standard_normal((3, 9))
    ranking = rank_models(models_of(size, quality, alpha), HERE)
    tau, partial, _ = only(ranking)
    xy, xz, zy = (
        stats.kendalltau(*pair).statistic for pair in ((alpha, quality), (alpha, size), (size, quality))
    )
    assert tau == pytest.approx(xy)
    assert partial == pytest.approx((xy - xz * zy) / np.sqrt((1 - xz**2) * (1 - zy**2)))
    (measure,) = ranking.measures
    assert measure.size.alone.tau == pytest.approx(zy)
    assert measure.size.alone.p == pytest.approx(
        stats.kendalltau(size, quality, method="exact").pvalue, abs=0.03
    )
    assert measure.size.alone.ci is not None
    assert measure.metrics[0].given_size is not None
    assert measure.metrics[0].given_size.ci is None
    assert "an interval needs 12" in measure.metrics[0].given_size.reason


def test_lower_quality_is_turned_round() -> None:
    models = models_of(range(6), [9, 8, 7, 6, 5, 5.5], range(6))
    turned = Models(
        tuple(
            Model(
                name=each.name,
                family="",
                parameters=each.parameters,
                metrics=each.metrics,
                quality={"error": Quality(value=each.quality["accuracy"].value, higher_is_better=False)},
            )
            for each in models.models
        ),
        models.columns,
        0,
    )
    straight, other = rank_models(models, HERE), rank_models(turned, HERE)
    assert only(straight)[0] == pytest.approx(-1 * (only(other)[0] or 0))


def test_size_that_orders_all_leaves_nothing() -> None:
    ranking = rank_models(models_of(range(8), range(8), [8, 7, 6, 5, 4, 3, 2, 1]), HERE)
    tau, partial, answer = only(ranking)
    assert (tau, partial, answer) == (-1.0, None, Answer.SIZE_ORDERS_ALL)
    assert "could add nothing" in answer_sentence(ranking, ranking.measures[0])


def test_few_models_get_no_p_value() -> None:
    ranking = rank_models(models_of([1, 3, 2, 4], [2, 1, 4, 3], [1, 4, 2, 3]), HERE)
    tau, _, answer = only(ranking)
    assert answer == Answer.TOO_FEW
    assert tau is not None
    assert ranking.measures[0].metrics[0].alone.p is None
    assert ranking.tests == 0
    assert "too few" in answer_sentence(ranking, ranking.measures[0])


def test_a_metric_that_adds_is_named_and_one_that_follows_size_is_not() -> None:
    rng = np.random.default_rng(1)
    size, own = rng.standard_normal((2, 40))
    adds = rank_models(models_of(size, size + own, own + 0.2 * size), HERE, metrics=["alpha"])
    assert only(adds)[2] == Answer.ADDS
    assert "alpha (partial tau +" in answer_sentence(adds, adds.measures[0])
    follows = rank_models(models_of(size, size + own, size), HERE, metrics=["alpha"])
    assert only(follows)[2] != Answer.ADDS


def test_simpson() -> None:
    """Within each family quality falls with alpha, between families it rises."""
    alpha = [1, 2, 3, 4, 11, 12, 13, 14]
    quality = [4, 3, 2, 1, 24, 23, 22, 21]
    ranking = rank_models(models_of([3, 1, 4, 2, 2, 4, 1, 3], quality, alpha, ["a"] * 4 + ["b"] * 4), HERE)
    (measure,) = ranking.measures
    assert measure.families == 2
    assert measure.metrics[0].alone.tau == -1
    assert measure.metrics[0].pooled is not None
    assert measure.metrics[0].pooled > 0
    assert measure.metrics[0].reversed
    assert "alpha has tau -1.00 within families, but +" in " ".join(reversal_sentences(measure))
    assert measure.metrics[0].pairs == 12


def test_p_values_are_adjusted_for_all_tests() -> None:
    rng = np.random.default_rng(2)
    ranking = rank_models(models_of(*rng.standard_normal((3, 10))), HERE)
    (measure,) = ranking.measures
    given = [each.given_size for each in measure.metrics if each.given_size is not None]
    adjusted = [each.p_adjusted for each in given if each.p_adjusted is not None]
    plain = [each.p for each in given if each.p is not None]
    assert ranking.tests == len(plain) == len(adjusted) == 2
    assert min(adjusted) == pytest.approx(min(1.0, 2 * min(plain)))


def test_models_without_a_metric_are_left_out_of_it_alone() -> None:
    given = models_of(range(7), [3, 1, 2, 5, 4, 7, 6], range(7))
    first = given.models[0]
    lacking = Model(
        name=first.name,
        family="",
        parameters=first.parameters,
        metrics={"stable_rank": 1.0},
        quality=first.quality,
    )
    ranking = rank_models(Models((lacking, *given.models[1:]), given.columns, 0), HERE)
    counts = {each.metric: each.models for each in ranking.measures[0].metrics}
    assert counts == {"alpha": 6, "stable_rank": 7}


def test_the_order_in_a_family_and_no_quality() -> None:
    models = tuple(
        Model(name=name, family="f", parameters=size, metrics={"alpha": alpha})
        for name, size, alpha in (("a", 1, 2.0), ("b", 3, 5.0), ("c", 2, 2.0))
    )
    ranking = rank_models(Models(models, ("alpha",), 0), HERE)
    (family,) = ranking.families
    assert [(each.name, each.metrics["alpha"].place) for each in family.models] == [
        ("b", 1),
        ("c", 2),
        ("a", 2),
    ]
    assert ranking.measures == ()
    assert "No model has a measured quality" in markdown(ranking)


def test_refusals() -> None:
    given = models_of(range(5), range(5), range(5))
    with pytest.raises(UsageError, match="Did you mean 'alpha'") as raised:
        rank_models(given, HERE, metrics=["alhpa"])
    assert raised.value.code == "RA-RK-003"
    with pytest.raises(NothingAuditableError):
        rank_models(Models((), (), 3), HERE)
    first = given.models[0]
    other = Model(
        name="x",
        family="",
        parameters=1,
        metrics=first.metrics,
        quality={"accuracy": Quality(value=1, higher_is_better=False)},
    )
    with pytest.raises(UsageError, match="disagree") as raised:
        rank_models(Models((*given.models, other), given.columns, 0), HERE)
    assert raised.value.code == "RA-RK-004"


def test_the_document_follows_its_schema_and_is_reproducible() -> None:
    given = models_of(*np.random.default_rng(3).standard_normal((3, 13)), families=["a"] * 6 + ["b"] * 7)  # type: ignore[misc]
    text = dumps(rank_models(given, HERE).to_dict())
    assert text == dumps(rank_models(given, HERE).to_dict())
    jsonschema.validate(json.loads(text), ranking_schema())


def test_names_inject_nothing_into_markdown() -> None:
    name = "<script>|`[x](y)\n::error::"
    model = Model(
        name=name,
        family=name,
        parameters=5,
        metrics={"alpha": 1.0},
        quality={name: Quality(value=1, higher_is_better=True)},
    )
    text = markdown(rank_models(Models((model,), ("alpha",), 0), Path(name)))
    assert "<script>" not in text
    assert not any(line.startswith("::") for line in text.splitlines())
    heads = [line for line in text.splitlines() if line.startswith("| model")]
    assert heads[0].replace("\\|", "").count("|") == 5


def test_p_values_are_written_shortly() -> None:
    assert [format_p(value) for value in (1.0, 0.25, 0.047, 0.0004)] == ["1", ".25", ".047", "<.001"]


def test_a_folder_of_reports_and_a_manifest(tmp_path: Path, made: ModuleType) -> None:
    for name in ("a", "b"):
        made.report().save(tmp_path / f"{name}.json")
    plain = read_models(tmp_path)
    assert [model.name for model in plain.models] == ["a", "b"]
    assert plain.models[0].metrics["alpha"] == pytest.approx(5.167, abs=1e-3)
    assert "alpha" in plain.columns
    entry = "{report: %s.json, name: %s, family: f, quality: {acc: {value: 1, higher_is_better: true}}}"
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text("models:\n" + "".join(f"  - {entry % (name, name.upper())}\n" for name in ("a", "b")))
    listed = read_models(tmp_path)
    assert [(model.name, model.family, model.quality["acc"].value) for model in listed.models] == [
        ("A", "f", 1),
        ("B", "f", 1),
    ]
    manifest.write_text("models:\n  - path: x\n")
    with pytest.raises(UsageError) as raised:
        read_models(manifest)
    assert raised.value.code == "RA-RK-002"


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        read_models(tmp_path)
    assert raised.value.code == "RA-RK-001"


def test_ten_thousand_models_rank_in_seconds() -> None:
    rng = np.random.default_rng(4)
    size, quality, alpha = rng.standard_normal((3, 10_000))
    families = [f"family {place % 20}" for place in range(10_000)]
    given = models_of(size, size + quality, alpha + size, families)
    clock = Clock()
    ranking = rank_models(given, HERE)
    assert clock.seconds() < 3
    assert only(ranking)[0] == pytest.approx(1 / 3, abs=0.05)


def test_the_audit_of_a_zoo(tmp_path: Path, made: ModuleType) -> None:
    read = ZooModel(
        name="a",
        path="a.safetensors",
        family="nets",
        status="ok",
        error=None,
        record=None,
        digest=None,
        format="safetensors",
        parameters=12,
        bytes=48,
        dtypes={"float32": 12},
        layers=1,
        coverage=0.5,
        integrity=UNREAD,
        signal=UNJUDGED,
        findings={},
        metrics={
            "alpha": ModelMetric(value=3.1, median=3.0, se=None, ci=None, n=1, n_failed=0, n_skipped=0),
            "xmin": ModelMetric(value=None, median=None, se=None, ci=None, n=0, n_failed=1, n_skipped=0),
        },
        quality={"accuracy": Quality(value=90, higher_is_better=True)},
    )
    lost = structs.replace(read, name="b", status="inconclusive", metrics={})
    run = ZooRun(
        seconds=1.5, workers=2, bytes=48, tasks=1, retries=0, models_computed=1, models_reused=0,
        layers_computed=1, layers_reused=0, quarantined=(), complete=True,
    )  # fmt: skip
    zoo = Zoo(schema=ZOO_HEADER, tool=made.report().tool, models=(read, lost), relations=None, run=run)
    (tmp_path / "zoo.json").write_text(dumps(zoo.to_dict()))
    (tmp_path / "other.json").write_text("{}")
    for path in (tmp_path, tmp_path / "zoo.json"):
        given = read_models(path)
        assert given.models == (
            Model(name="a", family="nets", parameters=12, metrics={"alpha": 3.1}, quality=read.quality),
        )
        assert given.left_out == 1
        assert given.columns[0] == "alpha"
