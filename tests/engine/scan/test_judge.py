from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from scipy.stats import t as student

from rmtaudit.analyzers.base import Analyzer, NoOptions, Observation
from rmtaudit.engine.scan.judge import judge
from rmtaudit.engine.scan.peers import _two_sided, out_of_scale
from rmtaudit.engine.scan.worker import _permitted
from rmtaudit.errors import UsageError
from rmtaudit.finding_kind import FindingKind, Severity
from rmtaudit.kernels.signal import Signal, SignalWord
from rmtaudit.matrices.skips import Skip, SkipReason
from rmtaudit.report.catalogue import FINDINGS, catalogue
from rmtaudit.report.model import LayerResult, MetricResult, Status


def row(
    name: str = "a", *, status: Status = "ok", skip: Skip | None = None, **metrics: float | str
) -> LayerResult:
    return LayerResult(
        name=name,
        tensor=name,
        kind="dense",
        view="as stored",
        shape=(9, 9),
        dtype="float32",
        matrices=1,
        parameters=81,
        status=status,
        reason=skip.sentence if skip else "",
        skip=skip.reason if skip else None,
        verdict="unjudged",
        spectrum={},
        metrics={key: metric(value) for key, value in metrics.items()},
        findings=(),
    )


def metric(value: float | str | None, status: Status = "ok", reason: str = "") -> MetricResult:
    return MetricResult(value=value, se=None, ci=None, status=status, reason=reason)


def seen(code: str, p_value: float | None = None) -> Observation:
    return Observation(code=code, message="Something.", evidence={"where": [1, 2]}, p_value=p_value)


def test_a_fact_has_the_severity_of_its_kind() -> None:
    judged = judge([row(noise_p_value=1e-9)], {0: [seen("RA-FO-001"), seen("RA-FO-004"), seen("RA-FO-003")]})
    assert [(each.code, each.severity) for each in judged.layers[0].findings] == [
        ("RA-FO-001", "error"),
        ("RA-FO-003", "info"),
        ("RA-FO-004", "warning"),
    ]
    assert judged.layers[0].verdict == judged.verdict == "damaged (RA-FO-001)"
    assert judged.layers[0].judgement == judged.judgement
    assert (judged.judgement.word, judged.judgement.codes) == ("damaged", ("RA-FO-001",))


@pytest.mark.parametrize(("layers", "p_value"), [(1, 0.004), (10, 0.0004), (100, 0.00004)])
def test_a_p_value_is_corrected_for_layers_and_kinds_of_test(layers: int, p_value: float) -> None:
    """Two kinds of test: 0.004 in the only layer is as surprising as 0.00004 in one of a hundred."""
    rows = [row(str(index), noise_p_value=1e-9) for index in range(layers)]
    for factor, severity in ((1, "error"), (4, "warning")):
        found = judge(rows, {0: [seen("RA-FO-006", factor * p_value)]}).layers[0].findings[0]
        assert found.severity == severity
        assert found.evidence["p_value"] == factor * p_value
        assert found.evidence["family_wise_p_value"] == pytest.approx(0.008 * factor)
    assert judge(rows, {0: [seen("RA-FO-006", 8 * p_value)]}).layers[0].findings == ()


def test_layers_that_were_not_tested_do_not_count() -> None:
    vector = Skip.of(SkipReason.VECTOR, sides="1 x 9")
    rows = [row(), *(row(str(index), status="skipped", skip=vector) for index in range(50))]
    assert judge(rows, {0: [seen("RA-FO-006", 0.004)]}).layers[0].findings[0].severity == "error"


@pytest.mark.parametrize(
    ("given_row", "verdict"),
    [
        (row(), "unjudged (the analyzer noise did not run)"),
        (
            row(status="skipped", skip=Skip.of(SkipReason.QUANTISED, problem="quantised (int8)")),
            "unjudged (quantised)",
        ),
        (
            row(status="failed", skip=Skip.of(SkipReason.UNREADABLE, problem="too short")),
            "unjudged (unreadable)",
        ),
        (row(status="skipped", skip=Skip.of(SkipReason.COPY, original="b")), "unjudged (copy)"),
        (row(status="skipped", skip=Skip.of(SkipReason.NO_VALUES, problem="sparse")), "unjudged (sparse)"),
    ],
)
def test_verdicts_of_rows_without_a_signal(given_row: LayerResult, verdict: str) -> None:
    assert judge([given_row], {}).layers[0].verdict == verdict


def test_a_metric_without_a_value_says_why_nothing_was_judged() -> None:
    small = structs.replace(row(), metrics={"noise_p_value": metric(None, "skipped", "too small")})
    assert judge([small], {}).layers[0].verdict == "unjudged (too small)"
    assert judge([small], {}).verdict == "unjudged (no layer could be judged)"


@pytest.mark.parametrize(
    ("signal", "observed", "verdict"),
    [
        (Signal(SignalWord.STRUCTURED), [], "structured"),
        (Signal(SignalWord.SCALES), [], "structured (scales)"),
        (Signal(SignalWord.NOISE_LIKE), [seen("RA-NF-001", 0.4)], "noise-like"),
        (Signal(SignalWord.NOISE_LIKE), [seen("RA-FO-012")], "noise-like"),
        (Signal(SignalWord.INITIAL, "normal"), [seen("RA-FO-011")], "initial (normal)"),
        (Signal(SignalWord.TOO_SMALL, "32"), [], "too small (32)"),
        (Signal(SignalWord.STRUCTURED), [seen("RA-FO-001")], "damaged (RA-FO-001)"),
    ],
)
def test_the_verdict_is_the_signal_unless_the_layer_is_damaged(
    signal: Signal, observed: list[Observation], verdict: str
) -> None:
    judged = judge([row(noise_p_value=1e-9, exchangeable_p=1e-9)], {0: observed}, {0: signal})
    assert judged.layers[0].verdict == verdict
    assert judged.verdict == ("too small" if signal.word is SignalWord.TOO_SMALL else verdict)
    judgement = judged.layers[0].judgement
    assert judgement.text == verdict
    if judgement.word != "damaged":
        assert (judgement.word, judgement.codes, judgement.why) == (signal.word, (), signal.detail)


@pytest.mark.parametrize(
    ("given_row", "observed", "integrity"),
    [
        (row(), [], "ok"),
        (row(), [seen("RA-FO-003"), seen("RA-NF-002")], "ok"),
        (row(), [seen("RA-FO-004"), seen("RA-FO-002"), seen("RA-FO-003")], "warning (RA-FO-002, RA-FO-004)"),
        (row(), [seen("RA-FO-004"), seen("RA-FO-001")], "damaged (RA-FO-001)"),
        (row(), [seen("XY-1", 1e-30)], "ok"),
        (
            row(status="skipped", skip=Skip.of(SkipReason.QUANTISED, problem="quantised (int8)")),
            [],
            "unjudged (quantised)",
        ),
        (row(status="skipped", skip=Skip.of(SkipReason.COPY, original="b")), [], "unjudged (copy)"),
        (
            row(status="skipped", skip=Skip.of(SkipReason.COPY, original="b")),
            [seen("RA-MO-001")],
            "damaged (RA-MO-001)",
        ),
        (row(status="skipped", skip=Skip.of(SkipReason.CONSTANT, constant="mask")), [], "ok"),
        (
            row(status="failed", skip=Skip.of(SkipReason.NONFINITE, problem="2 values")),
            [seen("RA-SC-001")],
            "damaged (RA-SC-001)",
        ),
    ],
)
def test_integrity_is_what_the_findings_say_and_nothing_is_ok_unread(
    given_row: LayerResult, observed: list[Observation], integrity: str
) -> None:
    judged = judge([given_row], {0: observed}, {0: Signal(SignalWord.STRUCTURED)})
    assert judged.layers[0].integrity.text == integrity
    assert judged.layers[0].signal.word == "structured"
    if given_row.examined or judged.layers[0].findings:
        assert judged.integrity == judged.layers[0].integrity
    else:
        assert judged.integrity.text == "unjudged (no layer could be judged)"


def test_damage_and_learning_are_two_questions() -> None:
    """A layer on a 3-bit grid is structured and has a warning; a truncated one is structured and damaged."""
    signals = signals_of(SignalWord.STRUCTURED, SignalWord.STRUCTURED, SignalWord.INITIAL)
    rows = [row(str(place), noise_p_value=1e-9) for place in range(3)]
    judged = judge(rows, {0: [seen("RA-FO-002")], 1: [seen("RA-FO-001")]}, signals)
    assert [each.integrity.word for each in judged.layers] == ["warning", "damaged", "ok"]
    assert [each.signal.text for each in judged.layers] == ["structured", "structured", "initial (normal)"]
    assert [each.verdict for each in judged.layers] == [
        "structured",
        "damaged (RA-FO-001)",
        "initial (normal)",
    ]
    assert (judged.integrity.text, judged.signal.text) == ("damaged (RA-FO-001)", "structured")
    assert judged.verdict == "damaged (RA-FO-001)"


def test_ok_says_where_nobody_looked_for_damage() -> None:
    judged = judge([row()], {}, thorough=False)
    assert judged.layers[0].integrity.text == "ok (the analyzer forensics did not run)"
    assert judged.integrity.text == "ok (the analyzer forensics did not run)"


def test_a_constant_of_the_architecture_has_no_findings() -> None:
    rows = [row(status="skipped", skip=Skip.of(SkipReason.CONSTANT, constant="sinusoid")), row("b")]
    signals = {0: Signal(SignalWord.CONSTANT, "sinusoid"), 1: Signal(SignalWord.CONSTANT, "mask")}
    judged = judge(rows, {0: [seen("RA-FO-001")], 1: [seen("RA-MO-001")]}, signals)
    assert [each.verdict for each in judged.layers] == ["constant (sinusoid)", "constant (mask)"]
    assert [each.findings for each in judged.layers] == [(), ()]
    assert judged.verdict == "unjudged (nothing but constants)"


def signals_of(*words: SignalWord) -> dict[int, Signal]:
    return {
        place: Signal(word, "normal" if word is SignalWord.INITIAL else "")
        for place, word in enumerate(words)
    }


def test_a_model_is_structured_if_one_of_its_layers_is() -> None:
    rows = [row(str(place), noise_p_value=p) for place, p in enumerate((1e-9, 0.5, 0.5))]
    words = signals_of(SignalWord.STRUCTURED, SignalWord.INITIAL, SignalWord.INITIAL)
    assert judge(rows, {}, words).verdict == "structured"
    scales = signals_of(SignalWord.SCALES, SignalWord.INITIAL, SignalWord.INITIAL)
    with_order = [row("a", noise_p_value=0.4, exchangeable_p=1e-9), *rows[1:]]
    assert judge(with_order, {}, scales).verdict == "structured (scales)"


def test_a_structured_layer_is_expected_by_chance_among_very_many() -> None:
    rows = [row("a", noise_p_value=9e-6), *(row(str(place), noise_p_value=0.5) for place in range(2000))]
    words = signals_of(SignalWord.STRUCTURED, *[SignalWord.NOISE_LIKE] * 2000)
    assert judge(rows, {}, words).verdict == "noise-like"


def test_a_model_without_structure_is_what_most_of_its_parameters_are() -> None:
    rows = [row(str(place), noise_p_value=0.5) for place in range(3)]
    initial = signals_of(SignalWord.INITIAL, SignalWord.INITIAL, SignalWord.TOO_SMALL)
    assert judge(rows, {}, initial).verdict == "initial (normal)"
    assert judge(rows, {}, {**initial, 1: Signal(SignalWord.INITIAL, "uniform")}).verdict == "initial"
    small = signals_of(SignalWord.TOO_SMALL, SignalWord.TOO_SMALL, SignalWord.NOISE_LIKE)
    assert judge(rows, {}, small).verdict == "too small"


def test_a_code_of_a_third_party_is_for_information() -> None:
    (found,) = judge([row()], {0: [seen("XY-1", 1e-30)]}).layers[0].findings
    assert found.severity == "info"


@given(st.floats(0.01, 1e6))
def test_the_tail_of_student_is_the_closed_form(distance: float) -> None:
    assert _two_sided(distance) == pytest.approx(2 * student.sf(distance, 4), rel=1e-9)


def scales(*values: float, role: str = "layers.{}.up.weight", first: int = 0) -> list[LayerResult]:
    return [row(role.format(first + place), log10_rms=value) for place, value in enumerate(values)]


USUAL = [-1.2, -1.3, -1.1, -1.25, -1.4, -1.15, -1.2, -1.35, -1.3]


def test_a_layer_out_of_scale_is_seen_and_the_others_are_not() -> None:
    assert out_of_scale(scales(*USUAL)) == {}
    found = out_of_scale(scales(*USUAL, 2.8))
    assert list(found) == [9]
    (observation,) = found[9]
    assert observation.evidence["median_of_peers"] == statistics.median(USUAL)
    assert observation.evidence["factor_beyond_all"] == pytest.approx(10**3.9)
    assert observation.p_value is not None
    assert observation.p_value < 1e-4
    assert f"{10**4.05:.3g} times larger" in observation.message


@pytest.mark.parametrize(
    ("value", "severity"),
    [
        (-0.45, None),
        (-0.1, "info"),
        (0.6, "warning"),
        (2.8, "error"),
        (-2.3, "info"),
        (-3.5, "warning"),
        (-9.0, "warning"),
    ],
)
def test_only_what_is_far_above_all_its_peers_is_an_error(value: float, severity: str | None) -> None:
    """Weight decay shrinks an unused branch without end, so a small layer is at most a warning."""
    judged = judge(scales(*USUAL, value), {}).layers[-1]
    assert [finding.severity for finding in judged.findings] == ([] if severity is None else [severity])


def test_an_insignificant_distance_is_information() -> None:
    wide = [-1.0, -3.0, -2.0, -4.0, -1.5]
    (finding,) = judge(scales(*wide, 0.9), {}).layers[-1].findings
    assert finding.evidence["factor_beyond_all"] > 30
    assert finding.severity == "info"


def test_few_peers_or_another_kind_or_role_tell_nothing() -> None:
    assert out_of_scale(scales(-1.0, -1.0, -1.0, -1.0, 5.0)) != {}
    assert out_of_scale(scales(-1.0, -1.0, -1.0, 5.0)) == {}
    usual = scales(*[-1.0] * 9)
    assert (
        out_of_scale([*usual, structs.replace(row("layers.9.up.weight", log10_rms=3.0), kind="embedding")])
        == {}
    )
    assert out_of_scale([*usual, *scales(3.0, 3.0, 3.0, role="layers.{}.A_log")]) == {}


def test_layers_of_equal_scale_have_a_least_spread() -> None:
    assert out_of_scale(scales(*[-1.0] * 9, -0.5)) == {}
    assert math.isfinite(out_of_scale(scales(*[-1.0] * 9, 3.0))[9][0].evidence["distance"])


def test_an_observer_can_make_a_fact_milder_and_never_worse() -> None:
    cases: list[tuple[Severity | None, Severity]] = [
        ("info", "info"),
        ("warning", "warning"),
        ("error", "error"),
        (None, "error"),
    ]
    for told, severity in cases:
        observation = replace(seen("RA-FO-001"), severity=told)
        assert judge([row()], {0: [observation]}).layers[0].findings[0].severity == severity
    mild = replace(seen("RA-FO-005"), severity="error")
    assert judge([row()], {0: [mild]}).layers[0].findings[0].severity == "warning"
    foreign = replace(seen("XY-1"), severity="error")
    assert judge([row()], {0: [foreign]}).layers[0].findings[0].severity == "info"


def test_the_findings_of_the_model_are_grouped() -> None:
    rows = [row(str(index), noise_p_value=1e-9) for index in range(4)]
    judged = judge(rows, {index: [seen("RA-FO-004")] for index in range(4)})
    (group,) = judged.findings
    assert group.evidence["layers"] == ["0", "1", "2", "3"]


def kind(code: str = "XY-1", calibration: str = "", **more: object) -> FindingKind:
    words = {"fact": "error", "meaning": "M.", "test": "T.", "limits": "L.", "action": "A.", **more}
    return FindingKind(code=code, title="a title", calibration=calibration, **words)  # type: ignore[arg-type]


def test_a_kind_without_a_calibration_makes_no_error() -> None:
    for levels, p_value in (((), None), ((("error", 0.01),), 1e-12)):
        for calibration, severity in (("", "warning"), ("1 % of models.", "error")):
            kinds = catalogue([kind(calibration=calibration, levels=levels)])
            judged = judge([row()], {0: [seen("XY-1", p_value)]}, kinds=kinds)
            assert judged.layers[0].findings[0].severity == severity
            assert judged.verdict.startswith("damaged") == (severity == "error")


def test_a_group_has_the_title_of_a_plugin() -> None:
    rows = [structs.replace(row(), name=f"layer {index}") for index in range(3)]
    judged = judge(rows, {index: [seen("XY-1")] for index in range(3)}, kinds=catalogue([kind()]))
    assert judged.findings[0].message.startswith("a title in 3 layers")


def test_two_kinds_of_one_code_are_refused() -> None:
    assert catalogue([kind(), kind()])["XY-1"].title == "a title"
    for first, second in ((kind(), kind(fact="info")), (kind("RA-FO-001"), kind())):
        with pytest.raises(UsageError, match="RA-US-111"):
            catalogue([first, second])
    assert "XY-1" not in FINDINGS


def test_under_a_code_that_is_not_its_own_an_analyzer_only_informs() -> None:
    class Mine(Analyzer):
        name, metrics, Options = "mine", (), NoOptions
        findings = (kind("XY-1"),)

        def analyze(self, given: object) -> dict[str, float]:
            del given
            return {}

    ours = [seen("RA-FO-001"), seen("XY-1"), seen("XY-2")]
    found = _permitted(Mine(), ours)
    assert [each.severity for each in found] == ["info", None, "info"]
    judged = judge([row()], {0: found}, kinds=catalogue(Mine.findings))
    assert {each.code: each.severity for each in judged.layers[0].findings} == {
        "RA-FO-001": "info",
        "XY-1": "warning",
        "XY-2": "info",
    }
    Mine.__module__ = "rmtaudit.analyzers.mine"
    assert _permitted(Mine(), ours) == tuple(ours)
