"""The ranking of a model zoo: the classes that its document is written, read and described by."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rmtaudit.report.layer import Part
from rmtaudit.report.plain import Count, Number, plain
from rmtaudit.report.zoo import Quality

SCHEMA_NAME = "rmtaudit.rank"
Level = Annotated[int, Meta(ge=0, le=1)] | Annotated[float, Meta(ge=0, le=1)]


class RankingHeader(Part, frozen=True):
    """The schema that the document follows."""

    name: Literal["rmtaudit.rank"]
    version: Literal["1.0"]


RANKING_HEADER = RankingHeader(name="rmtaudit.rank", version="1.0")


class Answer(StrEnum):
    """Whether a spectral metric adds to the number of parameters in the order of quality."""

    ADDS = "adds"
    NOT_SHOWN = "not shown"
    SIZE_ORDERS_ALL = "size orders all"
    TOO_FEW = "too few models"


class RankingTool(Part, frozen=True):
    """What was run."""

    version: str
    seed: Count
    draws: Annotated[Count, Meta(description="Number of bootstrap draws for each interval.")]
    level: Annotated[Level, Meta(description="Confidence of each interval by itself.")]
    alpha: Annotated[Level, Meta(description="An adjusted p-value below it is significant.")]


class RankingSubject(Part, frozen=True):
    """What was ranked."""

    path: str
    models: Count
    left_out: Annotated[
        Count, Meta(description=("Number of models without a report, or without any metric."))
    ]


class RankedMetric(Part, frozen=True):
    """A metric of a model, and its place in the family."""

    value: Number
    place: Annotated[int, Meta(ge=1, description="1 has the largest value; equal values share the least.")]


class RankedModel(Part, frozen=True):
    """A model of a family."""

    name: Annotated[str, Meta(description="Hostile text, as every name is.")]
    parameters: Count
    metrics: Mapping[str, RankedMetric]
    quality: Mapping[str, Quality]


class Family(Part, frozen=True):
    """The models of a family, with the most parameters first."""

    name: Annotated[str, Meta(description="Empty for models whose family is not given.")]
    models: tuple[RankedModel, ...]


class Association(Part, frozen=True, kw_only=True):
    """A rank correlation with the quality."""

    tau: Annotated[Number | None, Meta(description="Kendall's tau-b; null where it does not exist.")]
    ci: tuple[Number, Number] | None
    p: Annotated[Level | None, Meta(description="Two-sided p-value of this test alone.")]
    p_adjusted: Annotated[
        Level | None, Meta(description=("p-value adjusted by Holm's method over the tests of this document."))
    ]
    p_method: Annotated[
        Literal["all permutations", "random permutations"] | None,
        Meta(description="How `p` was computed."),
    ]
    reason: Annotated[str, Meta(description="Why something is null; empty where nothing is.")]


class Comparison(Part, frozen=True, kw_only=True):
    """How a metric, or the number of parameters, orders the models by quality."""

    metric: str
    models: Annotated[Count, Meta(description="Number of models with this metric and this quality.")]
    pairs: Annotated[Count, Meta(description="Number of pairs of them within families.")]
    alone: Annotated[Association, Meta(description="Within families.")]
    given_size: Annotated[
        Association | None,
        Meta(description="Partial tau given the number of parameters; null for that number itself."),
    ]
    pooled: Annotated[Number | None, Meta(description="Tau of all models, whatever their families.")]
    reversed: Annotated[
        bool, Meta(description="Simpson's paradox: `pooled` and the tau within families differ in sign.")
    ]


class Measure(Part, frozen=True, kw_only=True):
    """A measure of quality, and what orders the models by it."""

    name: str
    higher_is_better: bool
    models: Count
    families: Annotated[Count, Meta(description="Number of families with at least two of these models.")]
    answer: Answer
    size: Annotated[Comparison, Meta(description="The baseline: the number of parameters.")]
    metrics: tuple[Comparison, ...]


class Ranking(Part, frozen=True, kw_only=True):
    """The ranking of a model zoo."""

    schema: RankingHeader
    tool: RankingTool
    subject: RankingSubject
    metrics: Annotated[tuple[str, ...], Meta(description="The metrics that were tried.")]
    tests: Annotated[
        Count,
        Meta(description=("Number of partial correlations that were tested, over all measures of quality.")),
    ]
    families: tuple[Family, ...]
    measures: tuple[Measure, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the document: plain dicts, lists and scalars, keys in the published order."""
        document: dict[str, Any] = plain(self)
        return document


def ranking_schema() -> dict[str, Any]:
    """Return the published JSON Schema (2020-12) of the document."""
    schema: dict[str, Any] = msgspec.json.schema(Ranking)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:rmtaudit:rank:{RANKING_HEADER.version}",
        "title": "Ranking of a model zoo by rmtaudit",
        **msgspec.json.decode(msgspec.json.encode(schema)),
    }
