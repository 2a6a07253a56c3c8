from __future__ import annotations

import re
from pathlib import Path

import pytest

from rmtaudit.errors import UsageError
from rmtaudit.finding_kind import FindingKind
from rmtaudit.report.catalogue import FINDINGS, finding_kind

SOURCES = Path(__file__).parents[2] / "src" / "rmtaudit"


@pytest.mark.parametrize("kind", FINDINGS.values(), ids=list(FINDINGS))
def test_every_kind_is_complete(kind: FindingKind) -> None:
    assert re.fullmatch(r"RA-(FO|NF|MO|PL|SC)-\d{3}", kind.code)
    assert kind.fact or kind.levels
    for heading, text in kind.sections():
        assert heading
        assert text.endswith("."), heading


def test_codes_are_unique_and_in_order() -> None:
    assert list(FINDINGS) == sorted(FINDINGS)
    assert all(code == kind.code for code, kind in FINDINGS.items())


def test_every_code_that_an_analyzer_observes_is_explained() -> None:
    used = {
        code
        for path in (SOURCES / "analyzers").rglob("*.py")
        if path.name != "contract.py"
        for code in re.findall(r'"(RA-(?:FO|NF|PL)-\d{3})"', path.read_text(encoding="utf-8"))
    }
    assert {"RA-FO-001", "RA-FO-014", "RA-NF-001"} <= used
    assert used <= set(FINDINGS)


def test_severity_follows_the_p_value() -> None:
    kind = finding_kind("RA-FO-006")
    found = [kind.severity(p) for p in (0.0, 0.01, 0.0101, 0.05, 0.06)]
    assert found == ["error", "error", "warning", "warning", None]
    assert kind.severity() is None


def test_severity_of_a_fact_does_not() -> None:
    assert finding_kind("ra-fo-001 ").severity() == "error"
    assert finding_kind("RA-FO-001").severity(0.9) == "error"


def test_an_unknown_code_is_refused_with_near_ones() -> None:
    with pytest.raises(UsageError) as caught:
        finding_kind("RA-F0-001")
    assert "RA-FO-001" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        finding_kind("nonsense")
    assert "lists all" in caught.value.hint
