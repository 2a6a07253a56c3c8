"""Verdicts as values, and as the texts that schema 1.0 had of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.kernels.signal import Signal, SignalWord
from rmtaudit.report.verdict import UNJUDGED, Verdict, damaged, of_signal, verdict_of


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (damaged(("RA-FO-001", "RA-SC-001")), "damaged (RA-FO-001, RA-SC-001)"),
        (of_signal(Signal(SignalWord.SCALES)), "structured (scales)"),
        (of_signal(Signal(SignalWord.TOO_SMALL, "32")), "too small (32)"),
        (of_signal(Signal(SignalWord.UNJUDGED, "vector (bias)")), "unjudged (vector (bias))"),
        (UNJUDGED, "unjudged"),
        (Verdict(word="trained", codes=(), why=""), "trained"),
    ],
)
def test_the_text_of_a_verdict_and_the_way_back(verdict: Verdict, text: str) -> None:
    assert verdict.text == text
    assert verdict_of(text) == verdict


@given(st.sampled_from(sorted(SignalWord)), st.text(max_size=20))
def test_no_detail_is_lost(word: SignalWord, detail: str) -> None:
    if word is SignalWord.SCALES:
        detail = ""  # its word has brackets of its own, and never a detail
    verdict = of_signal(Signal(word, detail))
    assert verdict_of(verdict.text) == verdict


@given(st.text(max_size=40))
def test_any_text_is_taken(text: str) -> None:
    assert verdict_of(text).text in (text, f"{text})")
