"""The formats of CI systems: valid by their published schemas, and proof against hostile names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import cmarkgfm
import jsonschema
import pytest
from cmarkgfm.cmark import Options
from gates import HOSTILE, check, document, hostile, subject, unreadable
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from referencing import Registry
from referencing.jsonschema import DRAFT7

from rmtaudit.names import display_name
from rmtaudit.report.document import json_text
from rmtaudit.report.formats import GATE_FORMATS
from rmtaudit.report.gate import CheckEvidence, GateDocument, LeftOut, Suppression
from rmtaudit.report.model import Finding, Result
from rmtaudit.report.writers.gate import GATE_WRITERS, GateResult, gate_writer, sarif
from rmtaudit.report.writers.gate.markdown import MOST_BYTES, summary

SCHEMAS = Path(__file__).with_name("schemas")
DIGEST = "0f" * 32


def text_of(name: str, result: GateDocument, *results: Result, **files: str) -> str:
    given_files = [files] * len(result.subjects) if files else []
    return gate_writer(name)(GateResult(document=result, results=results, files=given_files))


@cache
def sarif_validator() -> Any:
    schema = json.loads((SCHEMAS / "sarif-2.1.0.json").read_text())
    return jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker())


@cache
def bom_validator() -> Any:
    names = ("bom-1.6", "spdx", "jsf-0.82", "cryptography-defs")
    schemas = {name: json.loads((SCHEMAS / f"{name}.schema.json").read_text()) for name in names}
    resources = [
        (f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", DRAFT7.create_resource(schema))
        for name, schema in schemas.items()
    ]
    registry: Registry[Any] = Registry().with_resources(resources)
    return jsonschema.Draft7Validator(schemas["bom-1.6"], registry=registry)


@cache
def junit_schema() -> Any:
    return etree.XMLSchema(etree.parse(SCHEMAS / "junit-10.xsd"))


def parsed_junit(text: str) -> Any:
    root = etree.fromstring(text.encode())
    junit_schema().assertValid(root)
    return root


def html_of(markdown: str) -> str:
    options = Options.CMARK_OPT_UNSAFE  # GitHub lets HTML through and filters it afterwards
    return str(cmarkgfm.github_flavored_markdown_to_html(markdown, options))


def mixed() -> GateDocument:
    return document(
        subject(
            check("a"),
            check("b", outcome="inconclusive"),
            check("c", outcome="suppressed"),
            check("d", outcome="passed"),
            check("e", severity="warning"),
            check("", level="model", rule="whole", outcome="passed"),
        ),
        unreadable(),
    )


def test_there_is_a_writer_for_every_format() -> None:
    for name in GATE_WRITERS:
        assert text_of(name, mixed(), weights="00" * 32).endswith("\n")
    with pytest.raises(KeyError):
        gate_writer("pdf")


def test_writers_need_no_torch() -> None:
    script = (
        "import sys\nfrom rmtaudit.report.writers.gate import GATE_WRITERS, gate_writer\n"
        "for name in GATE_WRITERS: gate_writer(name)\n"
        "sys.exit(bool({'torch', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# --- JUnit


def test_junit_has_a_suite_for_each_checkpoint_and_a_case_for_each_check() -> None:
    root = parsed_junit(text_of("junit", mixed()))
    first, second = root
    assert dict(first.attrib) == {
        "name": "models/model.safetensors", "tests": "6", "failures": "1", "errors": "1", "skipped": "2",
    }  # fmt: skip
    outcomes = {
        case.get("name"): [(child.tag, child.get("type")) for child in case]
        for case in first.iter("testcase")
    }
    assert outcomes == {
        "no-damage [a]": [("failure", "failed")],
        "no-damage [b]": [("error", "inconclusive")],
        "no-damage [c]": [("skipped", "suppressed")],
        "no-damage [d]": [],
        "no-damage [e]": [("skipped", "warning")],
        "whole": [],
    }
    assert [child.get("type") for child in second.iter("error")] == ["RA-IN-011"]
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("7", "1", "2")
    failure = first.find(".//failure")
    assert failure.get("message") == "a holds values that are not finite."
    assert "a: alpha 7.250 [6.500–8.000], baseline 3.500, threshold 6" in failure.text
    assert "… and 2 more" in failure.text
    assert first.find(".//skipped").get("message") == "c holds values that are not finite. Known of c."


def test_junit_counts_the_cases_and_not_the_properties() -> None:
    (suite,) = parsed_junit(text_of("junit", document(subject())))
    assert suite.get("tests") == "0"
    assert suite[0].tag == "properties"


def test_a_reason_stands_once_where_the_message_has_it_and_always_of_a_suppression() -> None:
    unseen = check("a", outcome="inconclusive", message="Inconclusive: no report.", reason="No report.")
    accepted = check("b", outcome="suppressed", message="'b' has RA-FO-001. Accepted.", reason="RA-FO-001.")
    root = parsed_junit(text_of("junit", document(subject(unseen, accepted))))
    assert [child.get("message") for case in root.iter("testcase") for child in case] == [
        "Inconclusive: no report.",
        "'b' has RA-FO-001. Accepted. RA-FO-001.",
    ]


def test_junit_keeps_two_names_apart_that_look_the_same() -> None:
    root = parsed_junit(
        text_of("junit", document(subject(check("a\x1b"), check("a\\x1b"), check("a\x1b (2)"))))
    )
    names = [case.get("name") for case in root.iter("testcase")]
    assert len(set(names)) == 3


# --- SARIF


def report_with(made: ModuleType, *findings: tuple[str, str, str]) -> Result:
    rows = [
        made.layer(
            f"layer.{index}.weight{name}",
            findings=(Finding(code=code, severity=severity, message=f"Found in {name}.", evidence={}),),  # type: ignore[arg-type]
        )
        for index, (code, severity, name) in enumerate(findings)
    ]
    result: Result = made.report(rows)
    return result


def test_sarif_has_the_findings_about_bytes_alone(made: ModuleType) -> None:
    report = report_with(
        made, ("RA-FO-003", "info", ""), ("RA-SC-001", "error", ""), ("RA-NF-001", "info", "")
    )
    evidence = (CheckEvidence(layer="layer.0.weight", finding="RA-FO-003"),)
    suppressed = check("layer.0.weight", outcome="suppressed", reason="Meant so.", evidence=evidence)
    text = text_of("sarif", document(subject(suppressed), unreadable("RA-IN-040")), report)
    log = json.loads(text)
    sarif_validator().validate(log)
    run = log["runs"][0]
    assert [result["ruleId"] for result in run["results"]] == ["RA-SC-001", "RA-IN-040", "RA-FO-003"]
    rules = run["tool"]["driver"]["rules"]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    assert all(rule["help"]["text"] and rule["help"]["markdown"] for rule in rules)
    assert {rule["id"]: rule["properties"].get("security-severity") for rule in rules} == {
        "RA-FO-003": None, "RA-IN-040": "9.0", "RA-SC-001": None,
    }  # fmt: skip
    prints = [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]
    assert len(set(prints)) == 3
    assert [result.get("suppressions") for result in run["results"]] == [
        None,
        None,
        [{"kind": "external", "status": "accepted", "justification": "Meant so."}],
    ]
    again = json.loads(text_of("sarif", document(subject(), unreadable("RA-IN-040")), report))
    assert prints == [
        result["partialFingerprints"]["primaryLocationLineHash"] for result in again["runs"][0]["results"]
    ]


def test_sarif_says_of_a_missing_file_that_it_was_not_read() -> None:
    log = json.loads(text_of("sarif", document(unreadable("RA-IN-001"))))
    sarif_validator().validate(log)
    invocation = log["runs"][0]["invocations"][0]
    assert not invocation["executionSuccessful"]
    assert invocation["exitCode"] == 2
    assert "RA-IN-001" in invocation["toolExecutionNotifications"][0]["message"]["text"]
    assert log["runs"][0]["results"] == []


def test_sarif_keeps_to_the_number_of_results_that_github_takes(
    made: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sarif, "MOST_RESULTS", 2)
    findings = [("RA-FO-003", "info", str(i)) for i in range(3)] + [("RA-SC-001", "error", "x")]
    run = json.loads(text_of("sarif", document(subject()), report_with(made, *findings)))["runs"][0]
    assert [result["level"] for result in run["results"]] == ["error", "note"]
    assert (
        "2 of the least severe" in run["invocations"][0]["toolExecutionNotifications"][-1]["message"]["text"]
    )


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("models/a b.safetensors", "models/a%20b.safetensors"),
        ("./m#1?.pt", "m%231%3F.pt"),
        ("/data/m.pt", "file:///data/m.pt"),
        ("hf://org/name@main/x.bin", "hf://org/name@main/x.bin"),
        ("a:b.pt", "a%3Ab.pt"),
    ],
)
def test_sarif_names_files_by_uris(path: str, uri: str) -> None:
    log = json.loads(text_of("sarif", document(unreadable(path=path))))
    sarif_validator().validate(log)
    location = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"] == uri


# --- GitHub


def test_annotations_are_errors_then_warnings() -> None:
    lines = text_of("github", mixed()).splitlines()
    assert [line.split("::")[1].split(" ")[0] for line in lines] == ["error"] * 3 + ["warning"] * 2
    assert lines[0].startswith("::error file=models/model.safetensors,title=no-damage [a]::a holds values")
    assert "%0Aa: alpha 7.250" in lines[0]
    assert "git lfs pull" in lines[2]
    assert "Expired suppression" in lines[-1]
    assert text_of("github", document(subject(check(outcome="passed")), suppressions=())) == ""


def test_annotations_say_what_github_would_not_show() -> None:
    many = document(subject(*(check(f"h.{index}") for index in range(12))))
    lines = [line for line in text_of("github", many).splitlines() if line.startswith("::error")]
    assert len(lines) == 10
    assert "3 more are not shown" in lines[-1]
    exact = document(subject(*(check(f"h.{index}") for index in range(10))))
    assert "more" not in text_of("github", exact).splitlines()[9].replace("and 2 more", "")


# --- Markdown


def test_the_summary_shows_failures_first_and_counts_what_does_not_fit() -> None:
    text = text_of("markdown", mixed())
    assert text.startswith("## rmtaudit gate: ⛔ unreadable\n")
    assert text.index("❌ failed | no-damage") < text.index("✅ passed | no-damage")
    assert "⚠️ warning" in text
    assert "git lfs pull" in text
    many = [check(f"layer.{index}.weight", outcome="passed") for index in range(400)]
    small = summary(document(subject(*many), subject(check("bad"))), 12_000)
    assert len(small.encode()) <= 12_000
    assert "bad" in small
    assert "400 more checks are not shown" in small
    tiny = summary(document(subject(*(check(f"l{index}") for index in range(400)))), 8_000)
    assert len(tiny.encode()) <= 8_000
    shown = tiny.count("| ❌ failed |")
    assert 0 < shown < 400
    assert f"{400 - shown} more checks are not shown" in tiny


def test_the_summary_of_a_large_gate_is_below_the_limit() -> None:
    subjects = [subject(*(check(f"layer.{i}.{j}" * 90) for i in range(150))) for j in range(4)]
    text = text_of("markdown", document(*subjects))
    assert MOST_BYTES / 2 < len(text.encode()) <= MOST_BYTES
    assert "not shown" in text


# --- OpenMetrics


def test_openmetrics_has_values_and_the_ends_of_their_intervals() -> None:
    text = text_of("openmetrics", mixed())
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert text.endswith("\n# EOF\n")
    labels = {"checkpoint": "models/model.safetensors", "metric": "alpha"}
    values = {
        name: [sample.value for sample in families[name].samples if sample.labels == labels]
        for name in ("rmtaudit_metric", "rmtaudit_metric_low", "rmtaudit_metric_high")
    }
    assert values == {
        "rmtaudit_metric": [3.1], "rmtaudit_metric_low": [2.9], "rmtaudit_metric_high": [3.3],
    }  # fmt: skip
    counts = {sample.labels["outcome"]: sample.value for sample in families["rmtaudit_gate_checks"].samples}
    assert counts == {"passed": 2, "failed": 2, "inconclusive": 1, "suppressed": 1}
    assert [sample.value for sample in families["rmtaudit_gate_exit_code"].samples] == [2]


# --- CycloneDX and in-toto


def test_a_bill_of_materials_has_the_metrics_with_their_intervals() -> None:
    bill = json.loads(text_of("cyclonedx", mixed(), **{"model.safetensors": DIGEST}))
    bom_validator().validate(bill)
    model = bill["components"][0]
    assert model["type"] == "machine-learning-model"
    assert model["name"] == "model.safetensors"
    assert model["hashes"] == [{"alg": "SHA-256", "content": DIGEST}]
    assert model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "alpha", "value": "3.1", "confidenceInterval": {"lowerBound": "2.9", "upperBound": "3.3"}},
        {"type": "layers", "value": "12"},
    ]
    facts = {each["name"]: each["value"] for each in model["properties"]}
    assert facts["rmtaudit:outcome"] == "failed"
    assert bill == json.loads(text_of("cyclonedx", mixed(), **{"model.safetensors": DIGEST}))


def test_a_model_of_several_files_has_a_component_for_each() -> None:
    files = {"a.safetensors": DIGEST, "b.safetensors": "1e" * 32}
    bill = json.loads(text_of("cyclonedx", document(subject()), **files))
    bom_validator().validate(bill)
    (model,) = bill["components"]
    assert "hashes" not in model
    assert [part["name"] for part in model["components"]] == list(files)
    bare = json.loads(text_of("cyclonedx", document(subject(metrics={}))))
    bom_validator().validate(bare)
    assert "hashes" not in bare["components"][0]


def test_a_statement_names_the_files_and_holds_the_document() -> None:
    gate = document(subject(check()), subject(path="b.pt"), unreadable())
    lines = text_of("intoto", gate).splitlines()
    assert len(lines) == 2  # nothing names the unreadable one
    (line, *_) = text_of("intoto", document(subject(check())), model=DIGEST).splitlines()
    statement = json.loads(line)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [
        {"name": "model", "digest": {"sha256": DIGEST}},
        {"name": "tensors of models/model.safetensors", "digest": {"rmtauditTensorsV1": "ab" * 32}},
    ]
    assert statement["predicateType"] == "urn:rmtaudit:gate:1.0"
    assert statement["predicate"] == document(subject(check())).to_dict()
    second = json.loads(lines[1])["predicate"]
    assert (second["outcome"], second["exit_code"], len(second["subjects"])) == ("passed", 0, 1)


def test_every_format_lists_the_exceptions_of_the_policy() -> None:
    granted = Suppression(
        rule="no-damage", layer="h.0", finding=None, reason="Pruned on purpose.", expires="2030-01-01",
        expired=False, used=1,
    )  # fmt: skip
    for name in GATE_WRITERS:
        text = text_of(name, document(subject(), suppressions=(granted,)))
        assert "Pruned on purpose." in text, name
        assert "2030-01-01" in text, name


def test_rules_that_did_not_apply_are_named() -> None:
    left_out = (
        LeftOut(rule="signal-kept", title="Kept.", reason="It applies only to gates with a baseline."),
    )
    gate = document(subject(left_out=left_out))
    for name in ("junit", "markdown"):
        assert "Skipped: signal-kept. It applies only to gates with a baseline." in text_of(name, gate)


def test_the_formats_are_those_of_the_command_line() -> None:
    assert tuple(GATE_WRITERS) == GATE_FORMATS


# --- hostile names

COMMAND = re.compile(r"^\s*::|##\[|##vso\[", re.MULTILINE)
ANNOTATION = re.compile(r"::(?:error|warning) (?:(?:file|title)=[^:,\r\n]*,?)*::[^\r\n]*")
ALPHABET = st.sampled_from(
    [*HOSTILE, *"<>&|`*_[]()!:#%@\"'\\{}\n\r\t =-+,;", "\x00", "\x1b", "\u202e", "a", "é"]
)
NAMES = st.lists(ALPHABET, max_size=5).map("".join) | st.text(max_size=30) | st.sampled_from(HOSTILE)


def test_every_hostile_name_injects_nothing(made: ModuleType) -> None:
    for name in HOSTILE:
        assert_nothing_is_injected(name, made)


def test_hostile_names_keep_json_valid_by_the_schemas(made: ModuleType) -> None:
    name = " ".join(HOSTILE)
    reports = [report_with(made, ("RA-SC-001", "error", name))]
    sarif_validator().validate(json.loads(text_of("sarif", hostile(name), *reports)))
    bom_validator().validate(json.loads(text_of("cyclonedx", hostile(name), **{name: DIGEST})))


@settings(max_examples=60, deadline=None)
@example("#:")
@example("::")
@given(NAMES)
def test_no_name_injects_anything(made: ModuleType, name: str) -> None:
    assert_nothing_is_injected(name, made)


def assert_nothing_is_injected(name: str, made: ModuleType) -> None:
    gate = hostile(name)
    reports = [report_with(made, ("RA-SC-001", "error", name))]
    texts = {each: text_of(each, gate, *reports, **{name: DIGEST}) for each in GATE_WRITERS}
    for each, text in texts.items():
        assert not set(map(chr, range(32))) - {"\n"} & set(text), each
        if each != "github":
            assert not COMMAND.search(text), each
    root = parsed_junit(texts["junit"])
    assert [len(suite.findall("testcase")) for suite in root] == [6, 1]
    assert {element.tag for element in root.iter()} == {
        "testsuites", "testsuite", "properties", "property", "testcase", "failure", "error", "skipped",
        "system-out",
    }  # fmt: skip
    log = json.loads(texts["sarif"])
    assert len(log["runs"][0]["results"]) == 2
    assert len(json.loads(texts["cyclonedx"])["components"]) == 2
    assert [json.loads(line)["_type"] for line in texts["intoto"].splitlines()] == [
        "https://in-toto.io/Statement/v1"
    ] * 2
    lines = texts["github"].splitlines()
    assert len(lines) == 6
    assert all(ANNOTATION.fullmatch(line) for line in lines)
    families = {family.name: family for family in text_string_to_metric_families(texts["openmetrics"])}
    assert [sample.value for sample in families["rmtaudit_metric"].samples] == [1.5]
    assert texts["openmetrics"].count("# EOF\n") == 1
    assert_markdown_is_plain(texts["markdown"])


def assert_markdown_is_plain(text: str) -> None:
    html = html_of(text)
    tags = set(re.findall(r"<\s*/?\s*([a-zA-Z][^\s/>]*)", html))
    assert tags <= {"h2", "h3", "ul", "li", "p", "table", "thead", "tbody", "tr", "th", "td", "br"}, tags
    assert not re.search(r"(?<!&)#\d", re.sub(r"&#\d+;", "\N{BULLET}", text)), "a reference to an issue"
    rows = [row.count("<td") for row in _rows(html)]
    assert rows == [0, *[4] * 6, 0, 4]


def _rows(html: str) -> Iterator[str]:
    yield from re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("::error::x", r"\x3a:error::x"),
        ("a ::Stop-Commands::t", r"a \x3a:Stop-Commands::t"),
        (" ::1", r" \x3a:1"),
        ("##[group]x", r"\x23#[group]x"),
        ("##vso[task.complete]x", r"\x23#vso[task.complete]x"),
        ("onnx::MatMul_12", "onnx::MatMul_12"),
        ("std::errors", "std::errors"),
        ("## heading", "## heading"),
    ],
)
def test_what_a_runner_would_obey_in_a_log_is_escaped(name: str, shown: str) -> None:
    assert display_name(name) == shown
    assert json.loads(json_text(name)) == name
    assert not COMMAND.search(json_text(name))


def test_what_tests_for_injections_sees_them() -> None:
    with pytest.raises(AssertionError):
        assert_markdown_is_plain("<script>x</script>")
    assert COMMAND.search("a\n  ::error::x")
    assert not ANNOTATION.fullmatch("::error title=a:b::c")
