"""Zoos made by hand, of any size."""

from __future__ import annotations

import random

from rmtaudit.report.provenance import Tool
from rmtaudit.report.verdict import Verdict
from rmtaudit.report.zoo import (
    ZOO_HEADER,
    ModelError,
    ModelMetric,
    Quality,
    Relation,
    Relations,
    Zoo,
    ZooModel,
    ZooRun,
)

FAMILIES = ("resnet", "vgg", "bert", "gpt", "conformer", "u-net", "")


def zoo(count: int, tool: Tool, *, names: str = "model-{}", hostile: str = "") -> Zoo:
    """Return a zoo of models with random numbers; ``hostile`` is added wherever a text can stand."""
    draw = random.Random(0)
    models = tuple(_model(at, draw, names.format(at) + hostile, hostile) for at in range(count))
    edges = tuple(
        Relation(
            first=models[at - at % 5].name,
            second=models[at].name,
            kind=f"{('derived', 'quantised')[at % 2]}{hostile}",
            source=models[at - at % 5].name if at % 2 else None,
            tree=True,
            shared=0.5,
            evidence=None,
        )
        for at in range(min(count, 4000))
        if at % 5
    )
    return Zoo(
        schema=ZOO_HEADER,
        tool=tool,
        models=models,
        relations=Relations(
            level=1e-4, candidates=len(edges), tested=len(edges), untested=3, unreadable=0, edges=edges
        ),
        run=ZooRun(
            seconds=12.5, workers=2, bytes=10**9, tasks=count, retries=1, models_computed=count,
            models_reused=0, layers_computed=count, layers_reused=0, quarantined=(), complete=True,
        ),
    )  # fmt: skip


def _model(at: int, draw: random.Random, name: str, hostile: str) -> ZooModel:
    lost = at % 17 == 16
    word = "damaged" if at % 11 == 10 else "warning" if at % 7 == 6 else "ok"
    size = int(10 ** draw.uniform(4, 9))
    return ZooModel(
        name=name,
        path=f"zoo/{name}",
        family=FAMILIES[at % len(FAMILIES)] + hostile,
        status="failed" if lost else "ok",
        error=ModelError(code="RA-IN-001", message=f"No such file.{hostile}", hint="") if lost else None,
        record=None,
        digest=None,
        format=None if lost else "safetensors",
        parameters=None if lost else size,
        bytes=None if lost else 4 * size,
        dtypes={},
        layers=None if lost else 12,
        coverage=None if lost else draw.uniform(0.8, 1),
        integrity=None if lost else Verdict(word=word, codes=(), why=""),
        signal=None if lost else Verdict(word=f"structured{hostile}", codes=(), why=""),
        findings={f"RA-FO-001{hostile}": 2} if word == "damaged" else {},
        metrics={}
        if lost
        else {
            "alpha": _metric(draw.uniform(2, 6)),
            "stable_rank": _metric(draw.uniform(5, 60)),
            "log10_spectral_norm": _metric(draw.uniform(-1, 2)),
        },
        quality={}
        if lost or at % 3
        else {f"accuracy{hostile}": Quality(value=60 + 3 * draw.random(), higher_is_better=True)},
    )


def _metric(value: float) -> ModelMetric:
    return ModelMetric(value=value, median=value, se=None, ci=None, n=12, n_failed=0, n_skipped=0)
