"""On what a scan fails."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import rmtaudit
from rmtaudit.errors import UsageError
from rmtaudit.report.catalogue import FINDINGS
from rmtaudit.report.failing import (
    FailOn,
    analyzer_of,
    failing_findings,
    not_judged,
    parse_fail_on,
    require_analyzers,
)

SOURCES = Path(rmtaudit.__file__).parent


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("never", FailOn()),
        ("error", FailOn("error")),
        ("Warning", FailOn("warning")),
        ("warning,error", FailOn("warning")),
        ("error, warning", FailOn("warning")),
        ("ra-fo-001,RA-SC-001", FailOn(None, frozenset({"RA-FO-001", "RA-SC-001"}))),
        ("error,RA-FO-002", FailOn("error", frozenset({"RA-FO-002"}))),
    ],
)
def test_the_text_is_parsed(text: str, expected: FailOn) -> None:
    assert parse_fail_on(text) == expected
    assert parse_fail_on(str(expected)) == expected
    assert bool(expected) == (text != "never")


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("errors", "RA-US-112", "Did you mean 'error'?"),
        ("", "RA-US-112", "'' is neither"),
        ("never,error", "RA-US-112", "must stand alone"),
        ("RA-FO-01", "RA-US-110", "Did you mean RA-FO-0"),
        ("error,RA-XX-001", "RA-US-110", "no finding 'RA-XX-001'"),
    ],
)
def test_a_wrong_text_is_refused_with_a_suggestion(text: str, code: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_fail_on(text)
    assert caught.value.code == code
    assert words in f"{caught.value.message} {caught.value.hint}"


def test_findings_and_layers_are_told_apart(made: ModuleType) -> None:
    report = made.report(
        (
            made.layer("a", findings=(made.finding("RA-FO-002", "info", "m"),)),
            made.layer("b", findings=(made.finding("RA-FO-001", "error", "m"),)),
            made.layer("c", findings=(made.finding("RA-FO-005", "warning", "m"),)),
            made.without_metrics(
                "d", "failed", "nonfinite: 1", findings=(made.finding("RA-SC-001", "error", "m"),)
            ),
            made.without_metrics("e", "failed", "unreadable: cut"),
            made.without_metrics("f", "skipped", "memory: needs about 1 GB"),
            made.without_metrics("g", "skipped", "excluded: matches nothing of include"),
            made.without_metrics("h", "skipped", "tied: the same storage as 'a', counted once"),
        )
    )

    def names(text: str) -> str:
        return "".join(layer.name for layer, _ in failing_findings(report, parse_fail_on(text)))

    assert names("never") == ""
    assert names("error") == "bd"
    assert names("warning") == "bcd"
    assert names("RA-FO-002") == "a"
    assert names("error,RA-FO-002") == "abd"
    assert [layer.name for layer in not_judged(report)] == ["e", "f"]


def test_every_code_belongs_to_the_analyzer_that_raises_it() -> None:
    modules = {
        "forensics": ["analyzers/forensics/describe.py", "analyzers/forensics/observe.py"],
        "noise": ["analyzers/noise.py", "analyzers/signal.py"],
        "powerlaw": ["analyzers/powerlaw.py"],
        "traps": ["analyzers/traps.py"],
        "": [
            "engine/scan/copies.py",
            "engine/scan/peers.py",
            "engine/scan/worker.py",
            "engine/scan/pages.py",
        ],
    }
    raised: dict[str, str] = {}
    for analyzer, paths in modules.items():
        text = "".join((SOURCES / path).read_text(encoding="utf-8") for path in paths)
        raised |= dict.fromkeys(re.findall(r"\"(RA-[A-Z]{2}-\d+)\"", text), analyzer)
    assert set(raised) == set(FINDINGS)
    conditional = {"RA-MO-002": "forensics", "RA-MO-003": "noise"}  # the engine compares what these measure
    assert {code: analyzer_of(code) for code in conditional} == conditional
    assert {code: analyzer_of(code) for code in FINDINGS if code not in conditional} == {
        code: analyzer for code, analyzer in raised.items() if code not in conditional
    }


def test_a_code_that_the_scan_cannot_raise_is_refused() -> None:
    require_analyzers(parse_fail_on("RA-SC-001,RA-MO-001,error"), ["scale"])
    require_analyzers(parse_fail_on("RA-NF-001"), ["scale", "noise"])
    with pytest.raises(UsageError, match=r"never raises RA-NF-001: it does not run the analyzer 'noise'"):
        require_analyzers(parse_fail_on("RA-NF-001"), ["scale", "forensics"])
