"""The document of a report: its schema, its round trip, and what it refuses."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.errors import CorruptError
from rmtaudit.report.document import dumps, results_to_dict
from rmtaudit.report.model import Report, Result, StoppedBy, failed_subject
from rmtaudit.report.parsing import loads, report_from_dict
from rmtaudit.report.schema import report_schema

SCHEMA = report_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
FIRST = jsonschema.Draft202012Validator(
    json.loads(Path(__file__).with_name("schema-1.0.json").read_text(encoding="utf-8"))
)
LOST = failed_subject("lost.bin", "RA-IN-001", "No such file.", "Check the path.")


def subjects(made: ModuleType) -> dict[str, list[Result]]:
    stopped = made.report(
        complete=False, error=StoppedBy(code="RA-IN-040", message="It changed.", hint="", where="x")
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
        document = copy.deepcopy(made.report().to_dict())
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
    assert VALIDATOR.is_valid(made.report().to_dict())


def test_the_way_back(made: ModuleType) -> None:
    for name, results in subjects(made).items():
        text = dumps(results_to_dict(results))
        again = loads(text)
        assert dumps(results_to_dict(again)) == text, name
        assert again == tuple(results), name
    assert report_from_dict(made.report().to_dict()) == made.report()


def test_keys_stand_in_the_published_order(made: ModuleType) -> None:
    document = made.report().to_dict()
    defined = SCHEMA["$defs"]["Report"]
    # a section that only some reports have comes last
    assert [*document, "verification"] == list(defined["properties"])
    assert set(document) - set(defined["required"]) == {
        "integrity", "signal", "judgement", "detail", "causes",
    }  # fmt: skip
    assert next(iter(document)) == "schema"
    assert list(document)[-1] == "timings"
    assert list(document["layers"][0]) == list(SCHEMA["$defs"]["LayerResult"]["properties"])
    assert list(document["coverage"]) == list(SCHEMA["$defs"]["Coverage"]["properties"])
    assert list(document["layers"][0]["metrics"]["alpha"]) == ["value", "se", "ci", "status", "reason"]


def test_the_text_is_ascii_without_control_characters(made: ModuleType) -> None:
    text = dumps(made.hostile_report().to_dict())
    assert all(character == "\n" or " " <= character <= "~" for character in text)
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_cannot_get_in(made: ModuleType, value: float) -> None:
    row = made.layer("bad.weight", metrics={"alpha": made.metric(value)})
    with pytest.raises(ValueError, match=r"layers\[0\]\.metrics\.alpha\.value is (nan|inf|-inf)"):
        made.report((row,)).to_dict()
    with pytest.raises(ValueError, match=r"timings\.total"):
        made.report(timings={"total": value}).to_dict()


def test_an_object_that_json_has_no_form_for_cannot_get_in(made: ModuleType) -> None:
    row = made.layer("bad.weight", spectrum={"floor": object()})
    with pytest.raises(TypeError, match=r"layers\[0\]\.spectrum\.floor is a object"):
        made.report((row,)).to_dict()


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
    document = made.report().to_dict()
    del document["layers"][1]["metrics"]["alpha"]["status"]
    with pytest.raises(
        CorruptError, match=r"layers\[1\]\.metrics\.alpha: Object missing required field `status`"
    ):
        report_from_dict(document)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("layers", 3, "metrics", "xmin", "value"), [], "layers[3].metrics.xmin.value: Expected "),
        (("layers", 3, "metrics", "xmin", "ci"), [1, "2"], "layers[3].metrics.xmin.ci[1]: Expected "),
        (("layers", 0, "metrics", "xmin", "status"), "fine", "layers[0].metrics.xmin.status: Invalid "),
        (("layers", 0, "metrics", "xmin", "status"), "failed", "layers[0].metrics.xmin: Expected a value "),
        (("layers", 0, "metrics", "xmin", "why"), "", "layers[0].metrics.xmin: Object contains unknown "),
        (("layers", 1, "shape", 1), -1, "layers[1].shape[1]: Expected `int` >= 0."),
        (("timings", "threads"), "2", "timings.threads: Expected `int | float`, got `str`."),
        (("metrics", "stable_rank", "better"), 1, "metrics.stable_rank.better: Expected "),
        (("coverage", "tensors"), 1.5, "coverage.tensors: Expected `int`, got `float`."),
        (("coverage", "skipped", 0, "reason"), "", "coverage.skipped[0].reason: Expected `str` of length"),
        (("tool", "columns"), "alpha", "tool.columns: Expected `array`, got `str`."),
        (("subject", "dtypes", "float32"), True, "subject.dtypes.float32: Expected `int`, got `bool`."),
        (("extra",), 1, "The report: Object contains unknown field `extra`."),
    ],
    ids=range(13),
)
def test_a_wrong_value_is_named_by_its_path(
    path: tuple[Any, ...], value: Any, message: str, made: ModuleType
) -> None:
    document = made.report().to_dict()
    owner = document
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = value
    with pytest.raises(CorruptError) as raised:
        report_from_dict(document)
    assert raised.value.code == "RA-RP-004"
    assert raised.value.message.startswith(message)
    several = {"schema": document["schema"], "reports": [LOST.to_dict(), document]}
    with pytest.raises(CorruptError) as raised:
        loads(dumps(several))
    where = message if message.startswith("The report") else f".{message}"
    assert raised.value.message.startswith(f"reports[1]{where}".replace("The report", ""))


def test_a_number_that_is_not_finite_is_not_taken_from_a_dictionary(made: ModuleType) -> None:
    document = made.report().to_dict()
    document["layers"][0]["metrics"]["alpha"]["value"] = math.nan
    with pytest.raises(CorruptError, match=r"layers\[0\]\.metrics\.alpha\.value is nan"):
        report_from_dict(document)


def test_keys_that_later_versions_add_are_kept(made: ModuleType) -> None:
    document = made.report().to_dict()
    for part in ("tool", "subject"):
        document[part]["later"] = [1, {"x": 2.5}]
    document["layers"][0]["spectrum"]["later"] = None
    assert VALIDATOR.is_valid(document)
    (report,) = loads(dumps(document))
    assert report.to_dict() == document


ADDED = {"encoding", "skip", "judgement", "integrity", "signal", "detail", "bytes"}


def as_first(document: Any) -> Any:
    """Return a document of 1.1 without what 1.0 lacks."""
    if isinstance(document, list):
        return [as_first(each) for each in document]
    if not isinstance(document, dict):
        return document
    if "causes" in document:
        document = {key: value for key, value in document.items() if key != "causes"} | {
            "findings": document["causes"]
        }
    result = {key: as_first(value) for key, value in document.items() if key not in ADDED}
    if document.get("name") == "rmtaudit.report" and document.get("version") == "1.1":
        result["version"] = "1.0"
    return result


def test_a_document_of_the_first_version_is_read(made: ModuleType) -> None:
    """The schema of 1.0 was written by hand; later versions only add keys to it."""
    for name, results in subjects(made).items():
        document = as_first(results_to_dict(results))
        assert FIRST.is_valid(document), name
        assert VALIDATOR.is_valid(document), name
        assert results_to_dict(loads(dumps(document))) == results_to_dict(results)


def test_a_document_of_the_first_schema_is_read_with_all_values(made: ModuleType) -> None:
    rows = (
        made.layer("a", verdict="damaged (RA-FO-001, RA-SC-001)"),
        made.layer("b", verdict="structured (scales)"),
        made.layer("c", verdict="initial (truncated normal)", reason="unresolved: 3 of 9"),
        made.without_metrics(
            "d", "skipped", "memory: needs about 2 GB; predicted", verdict="unjudged (memory)"
        ),
        made.without_metrics("e", "skipped", "sparse tensor", verdict="unjudged (sparse tensor)"),
    )
    new = made.report(rows, verdict="damaged (RA-FO-001, RA-SC-001)")
    (read,) = loads(dumps(as_first(new.to_dict())))
    assert isinstance(read, Report)
    assert read == new
    assert [row.judgement.word for row in read.layers[:3]] == ["damaged", "structured (scales)", "initial"]
    assert [row.integrity.word for row in read.layers] == ["damaged", "ok", "ok", "unjudged", "unjudged"]
    assert [row.signal.text for row in read.layers[:2]] == ["unjudged (not recorded)", "structured (scales)"]
    assert read.judgement.codes == ("RA-FO-001", "RA-SC-001")
    assert read.layers[2].judgement.why == "truncated normal"
    assert [row.skip for row in read.layers] == [None, None, None, "beyond_memory", None]
    (lost,) = loads(dumps(as_first(LOST.to_dict())))
    assert lost == LOST


def test_the_findings_of_an_older_document_are_its_causes(made: ModuleType) -> None:
    """Before there were ``causes``, ``findings`` had one entry a cause, and none named its layer."""
    rows = tuple(made.layer(name, findings=(made.finding("RA-FO-004", "info", name),)) for name in "ab")
    new = made.report(rows)
    old = as_first(new.to_dict())
    assert [len(old[key]) for key in ("findings", "layers")] == [1, 2]
    (read,) = loads(dumps(old))
    assert isinstance(read, Report)
    assert read.causes == new.causes
    assert [(each.layer, each.message) for each in read.findings] == [("a", "a"), ("b", "b")]


@given(data=st.data())
@pytest.mark.parametrize("first", [False, True])
def test_a_mutated_document_is_read_exactly_if_it_keeps_to_the_schema(
    data: st.DataObject, first: bool, made: ModuleType
) -> None:
    document = made.report().to_dict()
    if first:
        document = as_first(document)
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
        assert not VALIDATOR.is_valid(document)
        assert not (first and FIRST.is_valid(document))
        return
    assert VALIDATOR.is_valid(document)
    assert not first or FIRST.is_valid(document)
    assert isinstance(report, Report)
    assert (as_first(report.to_dict()) if first else report.to_dict()) == document
