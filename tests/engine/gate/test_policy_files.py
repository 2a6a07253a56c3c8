"""Policy files: what is read, and what is wrong with those that are not, to the line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from rmtaudit.engine.gate.explain import explained_policy, upper_rate
from rmtaudit.engine.gate.load import load_policy, policy_presets
from rmtaudit.engine.gate.policy import RELATIONS, FalseAlarms, policy_schema
from rmtaudit.engine.pairs.relation import Relation
from rmtaudit.errors import UsageError
from rmtaudit.kernels.difference.diagnosis import Kind
from rmtaudit.report.comparison_words import DIAGNOSES

HEAD = "name: mine\nrules:\n  - id: a\n    why: Because.\n"

BROKEN = [
    # (text, line, code, what the message or the hint suggests)
    ("extends: standrad\n", 1, "RA-PO-001", "Did you mean 'standard'?"),
    ("extends: [lenient, elsewhere.yaml]\n", 1, "RA-PO-001", "one of the presets"),
    ("extends: standard\nruels: []\n", 2, "RA-PO-002", "Did you mean 'rules'?"),
    (HEAD + "    metirc: alpha\n    threshold: 3\n", 5, "RA-PO-002", "Did you mean 'metric'?"),
    (HEAD + "    finding: error\n    on: {layer: h.*}\n", 6, "RA-PO-002", "Did you mean 'layers'?"),
    (HEAD + "    finding: error\n    severity: eror\n", 6, "RA-PO-006", "Did you mean 'error'?"),
    (HEAD + "    finding: RA-FO-999\n", 5, "RA-PO-006", "Did you mean RA-FO-"),
    (HEAD + "    finding: eror\n", 5, "RA-PO-006", "Did you mean 'error'?"),
    (HEAD + "    relation: {allowed: [derivd]}\n", 5, "RA-PO-006", "Did you mean 'derived'?"),
    (HEAD + "    diagnosis: {forbidden: [replacd]}\n", 5, "RA-PO-006", "Did you mean 'replaced'?"),
    (HEAD + "    diagnosis: {allowed: [cast], forbidden: [noise]}\n", 5, "RA-PO-005", "either"),
    (HEAD + "    finding: error\n    on: {kind: dens}\n", 6, "RA-PO-006", "Did you mean 'dense'?"),
    (HEAD + "    metric: alpha\n    threshold: high\n", 6, "RA-PO-003", "threshold: 8.0"),
    (HEAD + "    metric: alpha\n    range: [8, 2]\n", 6, "RA-PO-003", "range: [2, 8]"),
    (HEAD + "    metric: alpha\n    range: 8\n", 6, "RA-PO-003", "range: [1.5, 8]"),
    (HEAD + "    metric: alpha\n    threshold: 8\n", 6, "RA-PO-005", "greater_is_better"),
    (HEAD + "    metric: alpha\n", 5, "RA-PO-005", "Add threshold"),
    (
        HEAD + "    metric: alpha\n    finding: error\n    range: [1, 2]\n",
        6,
        "RA-PO-005",
        "a separate rule for each",
    ),
    (HEAD + "    severity: warning\n", 3, "RA-PO-005", "Add one of"),
    (HEAD + "    finding: error\n    threshold: 3\n", 6, "RA-PO-005", "finding: error"),
    (
        HEAD + "    metric: digest\n    same_as_baseline: true\n    on: {kind: dense}\n",
        7,
        "RA-PO-005",
        "Omit",
    ),
    (HEAD + "    relation: {allowed: [derived]}\n    only_with: baseline\n", 6, "RA-PO-005", "weights"),
    (
        HEAD + "    metric: a\n    on: {each: layer, of: mean}\n    range: [1, 2]\n",
        6,
        "RA-PO-005",
        "each: model",
    ),
    (HEAD + "    finding: error\n    confidence: 95\n", 6, "RA-PO-003", "confidence: 0.95"),
    ("rules:\n  - id: a\n    finding: error\n", 2, "RA-PO-004", "why:"),
    ("rules:\n  - why: Because.\n    finding: error\n", 2, "RA-PO-004", "id:"),
    (HEAD.replace("id: a", "id: No Damage") + "    finding: error\n", 3, "RA-PO-003", "id: no-damage"),
    (HEAD + "    finding: error\n  - id: a\n    why: B.\n    finding: warning\n", 6, "RA-PO-007", "'a-2'"),
    ("extends: standard\nwithout: [no-damge]\n", 2, "RA-PO-008", "Did you mean 'no-damage'?"),
    (
        "extends: lenient\nsuppress:\n  - rule: no-damag\n    reason: known\n    expires: 2027-01-31\n",
        3,
        "RA-PO-008",
        "Did you mean 'no-damage'?",
    ),
    (
        "extends: lenient\nsuppress:\n  - rule: no-damage\n    expires: 2027-01-31\n",
        3,
        "RA-PO-004",
        "reason:",
    ),
    ("extends: lenient\nsuppress:\n  - rule: no-damage\n    reason: known\n", 3, "RA-PO-004", "expires:"),
    (
        "extends: lenient\nsuppress:\n  - rule: no-damage\n    reason: known\n    expires: 2027-02-30\n",
        5,
        "RA-PO-003",
        "YYYY-MM-DD",
    ),
    (
        "extends: lenient\nsuppress:\n  - rule: no-damage\n    reason: known\n    expires: never\n",
        5,
        "RA-PO-003",
        "YYYY-MM-DD",
    ),
    ("rules: standard\n", 1, "RA-PO-003", "'- '"),
    ("name: mine\n", None, "RA-PO-010", "extends: standard"),
    ("rules:\n\t- id: a\n", 2, "RA-CF-002", ""),
]


@pytest.mark.parametrize(("text", "line", "code", "suggested"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_policy_names_the_line_and_what_to_write(
    text: str, line: int | None, code: str, suggested: str, tmp_path: Path
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_policy(path)
    error = caught.value
    assert error.code == code
    assert error.where == (f"{path}:{line}" if line else str(path))
    assert suggested in f"{error.message} {error.hint}"


def test_a_policy_that_extends_itself(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(UsageError) as caught:
        load_policy(tmp_path / "a.yaml")
    assert caught.value.code == "RA-PO-009"
    assert caught.value.where == f"{tmp_path / 'b.yaml'}:1"


def test_a_checkpoint_is_no_policy(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x80\xff")
    with pytest.raises(UsageError, match="is it a checkpoint"):
        load_policy(path)


def test_rules_are_extended_replaced_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text(
        "extends: standard\nconfidence: 0.9\nrules:\n"
        "  - {id: analysed, why: All of it., metric: coverage, threshold: 1}\n"
    )
    (tmp_path / "mine.yaml").write_text("extends: team.yaml\nwithout: [related]\n")
    standard, mine = load_policy("standard"), load_policy(tmp_path / "mine.yaml")
    assert [rule.id for rule in mine.rules] == [rule.id for rule in standard.rules if rule.id != "related"]
    assert next(rule for rule in mine.rules if rule.id == "analysed").threshold == 1
    assert (mine.name, mine.version, mine.confidence) == ("mine", "unversioned", 0.9)
    assert mine.sources == ("lenient", "standard", str(tmp_path / "team.yaml"), str(tmp_path / "mine.yaml"))
    assert mine.places["analysed"] == f"{tmp_path / 'team.yaml'}:4"


def test_the_digest_is_of_what_is_applied(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# a comment\nname: other\nextends: standard\n")
    (tmp_path / "b.yaml").write_text("extends: standard\nconfidence: 0.5\n")
    standard = load_policy("standard")
    assert load_policy(tmp_path / "a.yaml").sha256 == standard.sha256
    assert load_policy(tmp_path / "b.yaml").sha256 != standard.sha256
    changed = dataclasses.replace(standard, rules=standard.rules[1:])
    assert changed.sha256 != standard.sha256


@pytest.mark.parametrize("name", policy_presets())
def test_presets_follow_the_schema_and_are_explained(name: str) -> None:
    import rmtaudit.configs

    path = Path(rmtaudit.configs.__file__).parent / "policies" / f"{name}.yaml"
    validator = jsonschema.Draft202012Validator(policy_schema())
    validator.check_schema(policy_schema())
    validator.validate(json.loads(json.dumps(yaml.safe_load(path.read_text()), default=str)))
    policy = load_policy(name)
    assert (policy.name, policy.sources[-1]) == (name, name)
    text = "\n".join(explained_policy(policy))
    for rule in policy.rules:
        assert f"\n{rule.id}: " in text
        assert rule.why in text
        assert rule.why.endswith(".")


def test_the_schema_refuses_what_the_grammar_refuses() -> None:
    validator = jsonschema.Draft202012Validator(policy_schema())
    rule = {"id": "a", "why": "Because."}
    assert validator.is_valid({"rules": [{**rule, "finding": "error"}]})
    assert not validator.is_valid({"rules": [rule]})
    assert not validator.is_valid({"rules": [{**rule, "finding": "error", "metric": "alpha"}]})
    assert not validator.is_valid({"ruels": []})


def test_words_are_those_of_the_engine() -> None:
    assert tuple(map(str, Relation)) == RELATIONS
    assert tuple(map(str, Kind)) == DIAGNOSES


def test_presets_are_the_published_ones() -> None:
    assert policy_presets() == ("identical", "lenient", "same-weights", "standard", "strict")


def test_the_rate_that_cannot_be_excluded() -> None:
    # 0 of n: 1 - 0.05^(1/n), the rule of three.
    assert upper_rate(FalseAlarms(alarms=0, models=70)) == pytest.approx(1 - 0.05 ** (1 / 70))
    assert upper_rate(FalseAlarms(alarms=3, models=3)) == 1
    assert upper_rate(FalseAlarms(alarms=1, models=20)) == pytest.approx(0.216, abs=5e-4)
