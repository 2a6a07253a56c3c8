"""Findings in a few words, whatever the evidence is."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.report.catalogue import FINDINGS
from rmtaudit.report.model import Finding
from rmtaudit.report.phrases import _WORDS, phrase


@pytest.mark.parametrize(
    ("code", "evidence", "words"),
    [
        ("RA-FO-001", {"rank": 16, "possible": 128}, "rank 16 of 128"),
        ("RA-FO-001", {}, "rank deficit"),  # a summary, or another version
        ("RA-FO-002", {"bits": 3}, "3-bit grid"),
        ("RA-FO-004", {"zero_share": 0.615}, "62 % zeros"),
        ("RA-FO-005", {"dead_rows": 80, "dead_columns": 0}, "80 dead rows"),
        ("RA-FO-005", {"dead_rows": 2, "dead_columns": 3}, "2 dead rows, 3 dead columns"),
        ("RA-FO-024", {"ratio": 12.345678}, "rows or columns 12.35 times larger"),
        ("RA-FO-028", {"half": "second"}, "second half reinitialised"),
        ("RA-MO-001", {"copy_of": "h.8.up"}, "copy of <h.8.up>"),
        ("RA-MO-002", {"log10_rms": 1.0, "median_of_peers": -1.0}, "100 times larger than its peers"),
        ("RA-MO-002", {"log10_rms": "x", "median_of_peers": -1.0}, "scale far from its peers"),
        ("RA-SC-001", {"nan": 1, "infinite": 0}, "1 NaN"),
        ("RA-SC-001", {"nan": 1, "infinite": 2}, "1 NaN, 2 infinite"),
        ("XY-1", {}, "What the plugin says."),
    ],
)
def test_words(made: ModuleType, code: str, evidence: dict[str, Any], words: str) -> None:
    message = "What the plugin says." if code == "XY-1" else "long"
    assert phrase(made.finding(code, "error", message, evidence), lambda name: f"<{name}>") == words


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
KEYS = sorted(
    {"rank", "possible", "bits", "zero_share", "dead_rows", "dead_columns", "ratio", "nan", "copy_of"}
)


@given(st.sampled_from(sorted(FINDINGS)), st.dictionaries(st.sampled_from(KEYS), JUNK))
def test_any_evidence_gives_one_printable_line(code: str, evidence: dict[str, Any]) -> None:
    text = phrase(Finding(code=code, severity="error", message="m", evidence=evidence))
    assert text
    assert text.isprintable()
    assert len(text) <= 400


def test_every_code_with_words_is_in_the_catalogue() -> None:
    assert set(_WORDS) <= set(FINDINGS)
