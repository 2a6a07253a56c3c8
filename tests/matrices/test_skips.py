"""Why a tensor is skipped, as a value: its sentence, its label and its name in documents."""

from __future__ import annotations

import string

import pytest

from rmtaudit.matrices.skips import Skip, SkipReason, label_of, reason_of


def with_details(reason: SkipReason) -> Skip:
    fields = [name for _, name, _, _ in string.Formatter().parse(reason.sentence) if name]
    return Skip.of(reason, **{name: f"<{name}>" for name in fields})


@pytest.mark.parametrize("reason", SkipReason)
def test_every_reason_has_a_sentence_and_a_label(reason: SkipReason) -> None:
    skip = with_details(reason)
    assert all(str(detail) in skip.sentence for detail in skip.details.values())
    label = label_of(reason.value, skip.sentence)
    assert label
    assert reason is SkipReason.QUANTISED or skip.sentence.startswith(label)  # its readers make the sentence


@pytest.mark.parametrize("reason", [each for each in SkipReason if each is not SkipReason.QUANTISED])
def test_a_sentence_of_schema_1_0_leads_back_to_the_label(reason: SkipReason) -> None:
    sentence = with_details(reason).sentence
    assert label_of(reason_of(sentence), sentence) == label_of(reason, sentence)


def test_codes_in_a_report_of_schema_1_0_are_quantised() -> None:
    assert reason_of("quantised: int8 codes of an unknown scheme") is SkipReason.QUANTISED


def test_a_vector_in_a_report_of_schema_1_0_is_known_by_its_old_word() -> None:
    sentence = "vector: 1 x 128 x 1, at most one side is longer than 1"
    assert reason_of(sentence) is SkipReason.VECTOR
    assert label_of(reason_of(sentence), sentence) == "vector-shaped weight"


@pytest.mark.parametrize("reason", [None, "of a later version"])
def test_a_reason_that_is_not_known_is_counted_by_its_sentence(reason: str | None) -> None:
    assert label_of(reason, "vector: 1 x 9") == "vector: 1 x 9"


def test_details_are_no_templates() -> None:
    skip = Skip.of(SkipReason.COPY, original="{original}{0}")
    assert skip.sentence == "copy: the same values as '{original}{0}', counted once"
