from __future__ import annotations

from rmtaudit.kernels.signal import Signal, SignalWord


def test_the_text_is_the_word_with_its_detail() -> None:
    assert Signal(SignalWord.SCALES).text == "structured (scales)"
    assert Signal(SignalWord.INITIAL, "orthogonal").text == "initial (orthogonal)"
    assert Signal(SignalWord.TOO_SMALL, "12").text == "too small (12)"
