"""The document of a report: its schema, its round trip, and what it refuses."""

from __future__ import annotations

import copy
import json
import math
from importlib.resources import files
from types import ModuleType
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.errors import CorruptError
from rmtaudit.report.document import dumps, loads, report_from_dict, report_to_dict, results_to_dict
from rmtaudit.report.model import FailedSubject, MetricResult, Report

SCHEMA = json.loads(files("rmtaudit.report").joinpath("schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
LOST = FailedSubject("lost.bin", "RA-IN-001", "No such file.", "Check the path.")


def subjects(made: ModuleType) -> dict[str, list[Report | FailedSubject]]:
    stopped = made.report(
        complete=False, error={"code": "RA-IN-040", "message": "It changed.", "hint": "", "where": "x"}
    )
    return {
        "one": [made.report()],
        "hostile": [made.hostile_report()],
        "stopped": [stopped],
        "several": [made.report(), LOST, made.hostile_report()],
        "lost": [LOST],
    }


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_document_keeps_to_the_schema(made: ModuleType) -> None:
    for name, results in subjects(made).items():
        errors = [error.message for error in VALIDATOR.iter_errors(results_to_dict(results))]
        assert not errors, name


def test_the_schema_refuses_what_a_report_never_holds(made: ModuleType) -> None:
    def broken(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
        document = copy.deepcopy(report_to_dict(made.report()))
        owner: Any = document
        for key in path[:-1]:
            owner = owner[key]
        owner[path[-1]] = value
        return document

    alpha = ("layers", 0, "metrics", "alpha")
    for path, value in (
        (("schema", "version"), "2.0"),
        (("extra",), 1),
        ((*alpha, "value"), None),
        ((*alpha, "status"), "failed"),
        ((*alpha, "status"), "unknown"),
        ((*alpha, "ci"), [1.0]),
        (("layers", 0, "status"), "fine"),
        (("layers", 0, "matrices"), -1),
        (("coverage", "tensors"), 1.5),
        (("timings", "total"), "long"),
        (("metrics", "alpha", "better"), "bigger"),
    ):
        assert not VALIDATOR.is_valid(broken(path, value)), path
    assert VALIDATOR.is_valid(report_to_dict(made.report()))


def test_the_way_back(made: ModuleType) -> None:
    for name, results in subjects(made).items():
        text = dumps(results_to_dict(results))
        again = loads(text)
        assert dumps(results_to_dict(again)) == text, name
        assert again == tuple(results), name
    assert report_from_dict(report_to_dict(made.report())) == made.report()


def test_keys_stand_in_the_published_order(made: ModuleType) -> None:
    document = report_to_dict(made.report())
    report_schema = SCHEMA["$defs"]["report"]
    # a section that only some reports have comes last
    assert list(report_schema["properties"]) == [*report_schema["required"], "verification"]
    assert list(document) == report_schema["required"]
    assert next(iter(document)) == "schema"
    assert list(document)[-1] == "timings"
    assert list(document["layers"][0]) == list(SCHEMA["$defs"]["layer"]["properties"])
    assert list(document["coverage"]) == list(SCHEMA["$defs"]["coverage"]["properties"])
    assert list(document["layers"][0]["metrics"]["alpha"]) == ["value", "se", "ci", "status", "reason"]


def test_the_text_is_ascii_without_control_characters(made: ModuleType) -> None:
    text = dumps(report_to_dict(made.hostile_report()))
    assert all(character == "\n" or " " <= character <= "~" for character in text)
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_cannot_get_in(made: ModuleType, value: float) -> None:
    row = made.layer("bad.weight", metrics={"alpha": MetricResult(value)})
    with pytest.raises(ValueError, match=r"bad\.weight: alpha\.value is (nan|inf|-inf)"):
        report_to_dict(made.report((row,)))
    with pytest.raises(ValueError, match=r"timings\.total"):
        report_to_dict(made.report(timings={"total": value}))


def test_an_object_that_json_has_no_form_for_cannot_get_in(made: ModuleType) -> None:
    row = made.layer("bad.weight", spectrum={"floor": object()})
    with pytest.raises(TypeError, match=r"bad\.weight: spectrum\.floor is a object"):
        report_to_dict(made.report((row,)))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "RA-RP-001"),
        ("[1,", "RA-RP-001"),
        ('{"schema": NaN}', "RA-RP-001"),
        ('{"a": 1, "a": 2}', "RA-RP-001"),
        ("[" * 100_000, "RA-RP-001"),
        (b"\xff\xfe\xfa", "RA-RP-001"),
        ('{"a": 1e999}', "RA-RP-001"),
        ('{"a": 1' + "0" * 400 + "}", "RA-RP-001"),
        ("[]", "RA-RP-002"),
        ("null", "RA-RP-002"),
        ('{"schema": {"name": "other", "version": "1.0"}}', "RA-RP-002"),
        ('{"schema": {"name": "rmtaudit.report", "version": "9.9"}}', "RA-RP-003"),
        ('{"schema": {"name": "rmtaudit.report", "version": "1.0"}}', "RA-RP-004"),
        ('{"schema": {"name": "rmtaudit.report", "version": "1.0"}, "reports": 3}', "RA-RP-004"),
        ('{"schema": {"name": "rmtaudit.report", "version": "1.0"}, "reports": [3]}', "RA-RP-002"),
    ],
    ids=range(15),
)
def test_a_text_that_is_no_report_is_refused(text: str | bytes, code: str) -> None:
    with pytest.raises(CorruptError) as raised:
        loads(text)
    assert raised.value.code == code


def test_a_missing_field_is_named(made: ModuleType) -> None:
    document = report_to_dict(made.report())
    del document["layers"][1]["metrics"]["alpha"]["status"]
    with pytest.raises(CorruptError, match=r"no layers\[1\]\.metrics\.alpha\.status"):
        report_from_dict(document)


@given(data=st.data())
def test_a_mutated_document_is_read_or_refused(data: st.DataObject, made: ModuleType) -> None:
    document = report_to_dict(made.report())
    owner: Any = document
    while True:
        keys = list(owner) if isinstance(owner, dict) else list(range(len(owner)))
        key = data.draw(st.sampled_from(keys))
        inner = owner[key]
        if not (isinstance(inner, dict | list) and inner) or data.draw(st.booleans()):
            break
        owner = inner
    junk = st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(max_size=4), st.just([]), st.just({}), st.just([{}])
    )
    owner[key] = data.draw(junk)
    try:
        report = report_from_dict(document)
    except CorruptError:
        return
    assert isinstance(report, Report)
    report_to_dict(report)
