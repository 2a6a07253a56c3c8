"""Every kind of rule on reports made by hand: what passes, fails, and cannot be told."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import rmtaudit
from rmtaudit.engine.gate.init import policy_text
from rmtaudit.engine.gate.load import Policy, load_policy
from rmtaudit.errors import UsageError
from rmtaudit.report.gate import Check, GateDocument
from rmtaudit.report.model import Report

DAY = datetime.date(2026, 6, 1)
SKIPPED = "memory: needs about 9 GB, more than the budget of 1 GB (--memory)"


@pytest.fixture
def policy(tmp_path: Path) -> Any:
    """Return a policy of one rule, given as the text of its keys."""

    def of(rule: str, rest: str = "") -> Policy:
        path = tmp_path / "policy.yaml"
        path.write_text(f"{rest}\nrules:\n  - {{id: the-rule, why: Because., {rule}}}\n")
        return load_policy(path)

    return of


@pytest.fixture
def model(made: ModuleType) -> Any:
    """Return a report of layers, given as changes of a plain one."""

    def of(layers: Mapping[str, Mapping[str, Any]], **changes: Any) -> Report:
        rows = tuple(made.layer(name, **each) for name, each in layers.items())
        base = made.report(rows)
        tool = {**base.tool, "analyzers": ["scale", "powerlaw", "forensics", "noise"]}
        report: Report = made.report(rows, **({"tool": tool} | changes))
        return report

    return of


def only(document: GateDocument) -> Check:
    ((check,),) = [subject.checks for subject in document.subjects]
    return check


def alpha(made: ModuleType, value: float, low: float, high: float) -> dict[str, Any]:
    """Return a layer whose alpha has an interval of 90 %."""
    return {"metrics": {"alpha": made.metric(value, se=(high - low) / 3.29, ci=(low, high))}}


@pytest.mark.parametrize(
    ("interval", "outcome", "sentence"),
    [
        ((3.0, 2.8, 3.2), "passed", "'h.0' has alpha 3.000 (2.800 to 3.200)."),
        ((9.0, 8.5, 9.5), "failed", "'h.0' has alpha 9.000 (8.500 to 9.500), above the limit 8.000."),
        ((1.2, 1.1, 1.3), "failed", "'h.0' has alpha 1.200 (1.100 to 1.300), below the limit 1.500."),
        ((8.1, 7.5, 8.7), "inconclusive", "and the limit 8.000 lies within the interval."),
        ((7.9, 7.5, 8.3), "inconclusive", "and the limit 8.000 lies within the interval."),
    ],
)
def test_a_range(
    interval: tuple[float, float, float],
    outcome: str,
    sentence: str,
    policy: Any,
    model: Any,
    made: ModuleType,
) -> None:
    chosen = policy("metric: alpha, range: [1.5, 8.0], confidence: 0.9")
    check = only(rmtaudit.gate(model({"h.0": alpha(made, *interval)}), policy=chosen))
    assert check.outcome == outcome
    assert sentence in check.message
    assert check.evidence[0].layer == "h.0"
    assert (check.evidence[0].low, check.evidence[0].high) == interval[1:]


def test_the_worst_layer_is_named_first(policy: Any, model: Any, made: ModuleType) -> None:
    report = model({"a": alpha(made, 9, 8.9, 9.1), "b": alpha(made, 20, 19, 21), "c": alpha(made, 3, 2, 4)})
    check = only(rmtaudit.gate(report, policy=policy("metric: alpha, range: [1, 8]")))
    assert check.message.startswith("'b' has alpha 20.00")
    assert check.message.endswith("the same holds for 1 other layer.")
    assert [each.layer for each in check.evidence] == ["b", "a"]


@pytest.mark.parametrize(
    ("rule", "value", "base", "outcome"),
    [
        ("metric: stable_rank, greater_is_better: true, threshold: 10", 12.0, 5.0, "passed"),
        ("metric: stable_rank, greater_is_better: true, threshold: 13", 12.0, 5.0, "failed"),
        ("metric: stable_rank, greater_is_better: false, threshold: 13", 12.0, 5.0, "passed"),
        ("metric: stable_rank, greater_is_better: true, min_absolute_change: 2", 12.0, 9.0, "passed"),
        ("metric: stable_rank, greater_is_better: true, min_absolute_change: 4", 12.0, 9.0, "failed"),
        ("metric: stable_rank, greater_is_better: true, min_absolute_change: -2", 8.0, 9.0, "passed"),
        ("metric: stable_rank, greater_is_better: false, min_absolute_change: 2", 8.0, 9.0, "failed"),
        ("metric: stable_rank, greater_is_better: false, min_relative_change: 0.1", 8.0, 9.0, "passed"),
        ("metric: stable_rank, max_absolute_change: 1.5", 8.0, 9.0, "passed"),
        ("metric: stable_rank, max_absolute_change: 0.5", 8.0, 9.0, "failed"),
        ("metric: stable_rank, max_relative_change: 0.1", 8.0, 9.0, "failed"),
        ("metric: stable_rank, same_as_baseline: true", 8.0, 8.0, "passed"),
        ("metric: stable_rank, same_as_baseline: true", 8.0, 9.0, "failed"),
    ],
)
def test_thresholds_and_changes(
    rule: str, value: float, base: float, outcome: str, policy: Any, model: Any, made: ModuleType
) -> None:
    reports = [model({"h.0": {"metrics": {"stable_rank": made.metric(each)}}}) for each in (value, base)]
    check = only(rmtaudit.gate(reports[0], policy=policy(rule), baseline=reports[1]))
    assert check.outcome == outcome
    if "change" in rule:
        assert "the baseline" in check.message
        assert only(rmtaudit.gate(reports[0], policy=policy(rule))).outcome == "inconclusive"


@pytest.mark.parametrize(
    ("how", "outcome"), [("median", "passed"), ("highest", "failed"), ("mean", "failed")]
)
def test_aggregates(how: str, outcome: str, policy: Any, model: Any, made: ModuleType) -> None:
    layers = {
        f"h.{at}": {"metrics": {"stable_rank": made.metric(value)}} for at, value in enumerate([1, 2, 60])
    }
    chosen = policy(f"metric: stable_rank, on: {{of: {how}}}, range: [0, 5]")
    check = only(rmtaudit.gate(model(layers), policy=chosen))
    assert check.outcome == outcome
    assert f"The model has the {how} stable_rank" in check.message


NOT_SEEN = [
    # (rule, layers, what the reason says)
    ("metric: alpha, range: [1, 8]", {"h.0": {"status": "skipped", "reason": SKIPPED, "skip": "beyond_memory",
     "metrics": {}}}, "was not analysed: memory"),
    ("metric: alpha, range: [1, 8], on: {layers: z.*}", {"h.0": {}}, "No layer matches"),
    ("metric: trap_p_value, range: [0, 1]", {"h.0": {}}, "has no metric trap_p_value in this report"),
    ("metric: alpha, range: [1, 8]", {"h.0": {"alpha": None}}, "too few eigenvalues"),
    ("metric: alpha, range: [1, 8], missing: ignore", {"h.0": {"alpha": None}}, "too few eigenvalues"),
    ("metric: alpha, max_absolute_change: 1", {"h.0": {}}, "baseline"),
    ("metric: warning, range: [1, 2]", {"h.0": {}}, "not a number"),
    ("metric: digest, same_as_baseline: true", {"h.0": {}}, "no baseline"),
    ("metric: unmatched, threshold: 0", {"h.0": {}}, "not compared"),
    ("metric: signal_left, threshold: 0.5", {"h.0": {}}, "weights"),
    ("relation: {allowed: [derived]}", {"h.0": {}}, "not compared"),
    ("diagnosis: {allowed: [cast]}", {"h.0": {}}, "weights"),
    ("claim: bf16 of BASE", {"h.0": {}}, "not compared"),
    ("finding: RA-NF-003", {"h.0": {}}, "without the analyzer traps"),
    ("finding: error", {"h.0": {"status": "failed", "reason": "unreadable: x", "metrics": {}}}, "not exam"),
    ("finding: error", {"h.0": {"status": "skipped", "reason": SKIPPED, "skip": "beyond_memory",
     "metrics": {}}}, "not examined"),
    ("metric: coverage, threshold: 1", {"h.0": {}, "h.1": {"status": "failed", "reason": "unreadable: x",
     "metrics": {}}}, "1 weight tensor was not analysed"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "layers", "reason"), NOT_SEEN, ids=range(len(NOT_SEEN)))
def test_what_cannot_be_evaluated_is_never_passed(
    rule: str, layers: dict[str, Any], reason: str, policy: Any, model: Any
) -> None:
    document = rmtaudit.gate(model(layers), policy=policy(rule))
    check = only(document)
    assert (check.outcome, document.outcome, document.exit_code) == ("inconclusive", "inconclusive", 3)
    assert reason in check.reason
    assert check.message.startswith("Inconclusive: ")


def test_a_metric_that_nothing_has_is_an_error(policy: Any, model: Any) -> None:
    with pytest.raises(
        UsageError, match=r"policy\.yaml:\d+: There is no metric 'aplha'\. Did you mean 'alpha'"
    ):
        rmtaudit.gate(model({"h.0": {}}), policy=policy("metric: aplha, range: [1, 8]"))


def test_shares_are_stated_as_percentages(policy: Any, model: Any) -> None:
    check = only(rmtaudit.gate(model({"h.0": {}}), policy=policy("metric: coverage, threshold: 0")))
    assert re.fullmatch(r"[\d.]+ % of the parameters of weight matrices were analysed\.", check.message)
    part = model({"h.0": {}, "h.1": {"status": "failed", "reason": "unreadable: x", "metrics": {}}})
    message = only(rmtaudit.gate(part, policy=policy("metric: coverage, threshold: 1"))).message
    assert message.startswith("Inconclusive: ")
    assert "below the limit 100 %: 1 weight tensor was not analysed." in message


def test_a_tensor_that_the_file_divides_otherwise_is_named(policy: Any, model: Any) -> None:
    base = model({"rnn/kernel#i": {"tensor": "rnn/kernel", "kind": "recurrent"}})
    chosen = policy("metric: alpha, range: [1, 8], on: {role: 'rnn/kernel#i'}")
    check = only(rmtaudit.gate(model({"rnn/kernel": {}}), policy=chosen, baseline=base))
    assert (check.outcome, check.message.count("Inconclusive")) == ("inconclusive", 1)
    assert "holds the tensor 'rnn/kernel' as one matrix of kind dense" in check.reason


def test_layers_without_the_metric_can_be_left_out(policy: Any, model: Any) -> None:
    report = model({"h.0": {}, "h.1": {"alpha": None}})
    assert (
        only(rmtaudit.gate(report, policy=policy("metric: alpha, range: [1, 8]"))).outcome == "inconclusive"
    )
    chosen = policy("metric: alpha, range: [1, 8], missing: ignore")
    assert only(rmtaudit.gate(report, policy=chosen)).outcome == "passed"


def test_rows_that_are_no_weight_matrices_hide_nothing(policy: Any, model: Any) -> None:
    tied = {"status": "skipped", "reason": "tied: the same weight as 'h.0', counted once", "skip": "tied"}
    report = model({"h.0": {}, "h.1": {**tied, "metrics": {}}})
    for rule in ("metric: alpha, range: [1, 8]", "finding: error"):
        assert only(rmtaudit.gate(report, policy=policy(rule))).outcome == "passed"
    asked = policy("metric: alpha, range: [1, 8], on: {layers: h.1}")
    assert only(rmtaudit.gate(report, policy=asked)).outcome == "inconclusive"


@pytest.mark.parametrize(
    ("on", "targets"),
    [
        ("{}", [("model", "")]),
        ("{each: layer}", [("layer", "h.0.mlp"), ("layer", "h.1.mlp"), ("layer", "head")]),
        ("{each: role}", [("group", "h.#.mlp"), ("group", "head")]),
        ("{each: kind}", [("group", "dense")]),
        ("{layers: 'h.*'}", [("group", "h.*")]),
        ("{layers: [head, 'h.1*']}", [("group", "head,h.1*")]),
        ("{role: 'h.#.mlp'}", [("group", "h.#.mlp")]),
    ],
)
def test_targets(on: str, targets: list[tuple[str, str]], policy: Any, model: Any) -> None:
    report = model({"h.0.mlp": {}, "h.1.mlp": {}, "head": {}})
    document = rmtaudit.gate(report, policy=policy(f"metric: alpha, range: [1, 8], on: {on}"))
    assert [(check.level, check.target) for check in document.subjects[0].checks] == targets


def findings(made: ModuleType, *codes: tuple[str, str]) -> dict[str, Any]:
    return {"findings": tuple(made.finding(code, severity, f"It has {code}.") for code, severity in codes)}


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ("finding: error", "passed"),
        ("finding: warning", "failed"),
        ("finding: RA-FO-002", "failed"),
        ("finding: ra-fo-002", "failed"),
        ("finding: [error, RA-FO-005]", "failed"),
        ("finding: RA-FO-001", "passed"),
        ("finding: warning, new: true", "failed"),
    ],
)
def test_findings(rule: str, outcome: str, policy: Any, model: Any, made: ModuleType) -> None:
    report = model({"h.0": findings(made, ("RA-FO-002", "warning"), ("RA-FO-005", "info")), "h.1": {}})
    clean = model({"h.0": {}, "h.1": {}})
    check = only(rmtaudit.gate(report, policy=policy(rule), baseline=clean))
    assert check.outcome == outcome
    if outcome == "failed":
        assert "'h.0' has a finding: It has RA-FO-00" in check.message
    same = only(rmtaudit.gate(report, policy=policy(rule), baseline=report))
    assert same.outcome == ("passed" if "new" in rule else outcome)


@pytest.mark.parametrize(
    ("rule", "now", "then", "outcome"),
    [
        ("metric: signal, forbidden: [noise-like]", "noise-like", "noise-like", "failed"),
        ("metric: signal, forbidden: [noise-like], new: true", "noise-like", "noise-like", "passed"),
        ("metric: signal, forbidden: [noise-like], new: true", "noise-like", "structured", "failed"),
        ("metric: signal, allowed: [structured]", "initial (normal)", "structured", "failed"),
        ("metric: signal, same_as_baseline: true", "structured", "structured", "passed"),
        ("metric: dtype, allowed: [float32]", "structured", "structured", "passed"),
        ("metric: warning, forbidden: ['=over-trained']", "structured", "structured", "failed"),
    ],
)
def test_words(rule: str, now: str, then: str, outcome: str, policy: Any, model: Any) -> None:
    reports = [model({"h.0": {"verdict": word}}) for word in (now, then)]
    assert only(rmtaudit.gate(reports[0], policy=policy(rule), baseline=reports[1])).outcome == outcome


def test_a_warning_informs_and_never_counts(policy: Any, model: Any) -> None:
    document = rmtaudit.gate(
        model({"h.0": {}}), policy=policy("metric: alpha, range: [4, 8], severity: warning")
    )
    assert only(document).outcome == "failed"
    assert (document.outcome, document.exit_code) == ("passed", 0)


def test_rules_for_a_baseline_are_left_out_without_one_and_listed(policy: Any, model: Any) -> None:
    report = model({"h.0": {}})
    chosen = policy("metric: alpha, max_absolute_change: 1, only_with: baseline")
    document = rmtaudit.gate(report, policy=chosen)
    assert document.subjects[0].checks == ()
    assert [each.rule for each in document.subjects[0].left_out] == ["the-rule"]
    assert only(rmtaudit.gate(report, policy=chosen, baseline=report)).outcome == "passed"
    weights = policy("relation: {allowed: [derived]}, only_with: weights")
    assert rmtaudit.gate(report, policy=weights, baseline=report).subjects[0].checks == ()


SUPPRESS = """suppress:
  - {{rule: the-rule, layer: {layer}, reason: The head is pruned on purpose., expires: {expires}}}
"""


@pytest.mark.parametrize(
    ("layer", "expires", "outcome", "used"),
    [
        ("'h.*'", "2026-06-01", "suppressed", 1),
        ("'h.*'", "2026-05-31", "failed", 0),
        ("h.0", "2027-01-01", "failed", 1),
        ("z", "2027-01-01", "failed", 0),
    ],
)
def test_suppressions(layer: str, expires: str, outcome: str, used: int, policy: Any, model: Any) -> None:
    chosen = policy(
        "metric: alpha, range: [4, 8], confidence: 0", SUPPRESS.format(layer=layer, expires=expires)
    )
    document = rmtaudit.gate(model({"h.0": {}, "h.1": {}}), policy=chosen, day=DAY)
    check = only(document)
    assert check.outcome == outcome
    assert document.exit_code == (0 if outcome == "suppressed" else 1)
    (listed,) = document.suppressions
    assert (listed.expired, listed.used) == (expires == "2026-05-31", used)
    assert document.day == "2026-06-01"
    if outcome == "suppressed":
        assert check.reason == "The head is pruned on purpose."
    if layer == "h.0":
        assert [each.layer for each in check.evidence] == ["h.1"]


def test_only_the_finding_that_is_named_is_suppressed(policy: Any, model: Any, made: ModuleType) -> None:
    rest = "suppress:\n  - {rule: the-rule, finding: RA-FO-002, reason: Meant., expires: 2027-01-01}\n"
    chosen = policy("finding: warning", rest)
    one = model({"h.0": findings(made, ("RA-FO-002", "warning"))})
    two = model({"h.0": findings(made, ("RA-FO-002", "warning"), ("RA-FO-004", "warning"))})
    assert only(rmtaudit.gate(one, policy=chosen, day=DAY)).outcome == "suppressed"
    check = only(rmtaudit.gate(two, policy=chosen, day=DAY))
    assert check.outcome == "failed"
    assert [each.finding for each in check.evidence] == ["RA-FO-004"]


def test_evidence_is_bounded_and_counts_what_is_left_out(policy: Any, model: Any) -> None:
    report = model({f"h.{at}": {} for at in range(50)})
    check = only(rmtaudit.gate(report, policy=policy("metric: alpha, range: [4, 8]")))
    assert (len(check.evidence), check.evidence_left_out) == (20, 30)


def test_init_writes_no_lower_limit_that_no_layer_can_miss(
    made: ModuleType, model: Any, tmp_path: Path
) -> None:
    narrow, wide = {"h.0.weight": alpha(made, 4, 3.5, 4.5)}, {"h.0.weight": alpha(made, 4, 1.5, 6.5)}
    assert "    range: [2.8, 5.2]" in policy_text(model(narrow))
    text = policy_text(model(wide))
    comment, limit, side = text.split("metric: alpha")[1].splitlines()[1:4]
    assert re.fullmatch(r"    # No lower limit: no layer can miss -\d\.\d+, as alpha .*", comment)
    assert limit.startswith("    threshold: 9.")
    assert side == "    greater_is_better: false"
    (tmp_path / "policy.yaml").write_text(text)
    chosen = load_policy(tmp_path / "policy.yaml")
    high = model({"h.0.weight": alpha(made, 20, 19, 21)})
    outcomes = {
        name: {each.rule: each.outcome for each in rmtaudit.gate(report, policy=chosen).subjects[0].checks}
        for name, report in (("itself", model(wide)), ("high", high))
    }
    assert outcomes["itself"]["alpha-h"] == "passed"
    assert outcomes["high"]["alpha-h"] == "failed"
