"""The document of a zoo: its schema, its round trip, and what it refuses."""

from __future__ import annotations

import copy
import json
from types import ModuleType
from typing import Any

import jsonschema
import pytest

from rmtaudit.errors import CorruptError
from rmtaudit.report.document import dumps
from rmtaudit.report.verdict import UNJUDGED, UNREAD
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
    load_zoo,
    zoo_schema,
)


def zoo_of(made: ModuleType) -> Zoo:
    read = ZooModel(
        name="a",
        path="a.safetensors",
        family="nets",
        status="ok",
        error=None,
        record="records/ab/cd/abcd.json",
        digest="sha256:00",
        format="safetensors",
        parameters=12,
        bytes=48,
        dtypes={"float32": 12},
        layers=1,
        coverage=0.5,
        integrity=UNREAD,
        signal=UNJUDGED,
        findings={"RA-FO-001": 1},
        metrics={
            "alpha": ModelMetric(value=3.1, median=3.0, se=0.1, ci=(2.9, 3.3), n=1, n_failed=0, n_skipped=0)
        },
        quality={"accuracy": Quality(value=90, higher_is_better=True)},
    )
    lost = ZooModel(
        name="b",
        path="b.bin",
        family="",
        status="failed",
        error=ModelError(code="RA-IN-001", message="No such file.", hint=""),
        record=None,
        digest=None,
        format=None,
        parameters=None,
        bytes=None,
        dtypes={},
        layers=None,
        coverage=None,
        integrity=None,
        signal=None,
        findings={},
        metrics={},
        quality={},
    )
    edge = Relation(first="a", second="b", kind="copy", source=None, tree=True, shared=1.0, evidence=None)
    return Zoo(
        schema=ZOO_HEADER,
        tool=made.report().tool,
        models=(read, lost),
        relations=Relations(
            level=1e-4, candidates=1, tested=1, untested=0, unreadable=0, edges=(edge,)
        ),
        run=ZooRun(
            seconds=1.5,
            workers=2,
            bytes=48,
            tasks=2,
            retries=0,
            models_computed=1,
            models_reused=0,
            layers_computed=1,
            layers_reused=0,
            quarantined=(),
            complete=True,
        ),
    )  # fmt: skip


def test_a_document_keeps_to_its_schema_and_comes_back(made: ModuleType) -> None:
    zoo = zoo_of(made)
    schema = zoo_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    text = dumps(zoo.to_dict())
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))
    assert load_zoo(text).to_dict() == zoo.to_dict()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema", "name"), "rmtaudit.report"),
        (("schema", "version"), "9.0"),
        (("extra",), 1),
        (("models", 0, "status"), "fine"),
        (("models", 1, "error", "code"), "X-1"),
        (("run", "tasks"), -1),
    ],
)
def test_what_is_no_such_document_is_refused(made: ModuleType, path: tuple[Any, ...], value: Any) -> None:
    document = copy.deepcopy(zoo_of(made).to_dict())
    owner: Any = document
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = value
    with pytest.raises(CorruptError, match="RA-ZO-005"):
        load_zoo(dumps(document))
