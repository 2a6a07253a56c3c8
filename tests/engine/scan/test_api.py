"""The errors of ``rmtaudit.scan`` for settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import rmtaudit
from rmtaudit.errors import UsageError


@pytest.mark.parametrize(
    ("keywords", "code", "words"),
    [
        (
            {"analyzers": "powerlaw"},
            "RA-CF-006",
            "must be a list of names, not 'powerlaw'. Write ['powerlaw'].",
        ),
        ({"analyzers": 3}, "RA-CF-006", "must be a list of names, not 3."),
        ({"columns": "alpha"}, "RA-CF-006", "Write ['alpha']."),
        ({"include": "*.attn.*"}, "RA-CF-006", "Write ['*.attn.*']."),
        ({"analyzer": ["scale"]}, "RA-US-701", "Unknown setting 'analyzer'. Did you mean 'analyzers'?"),
        ({"sed": 1}, "RA-US-701", "Did you mean 'seed'?"),
        ({"bootstrap": 200}, "RA-US-701", "Pass options={'powerlaw': {'bootstrap': ...}}."),
        ({"options": {"powerlaw": 3}}, "RA-CF-006", "options['powerlaw'] must be a mapping, not 3."),
        ({"options": [1]}, "RA-CF-006", "options must be a mapping, not [1]."),
        ({"options": {"powrlaw": {"bootstrap": 1}}}, "RA-CF-011", "Did you mean 'powerlaw'?"),
        ({"options": {"powerlaw": {"bootstrp": 1}}}, "RA-US-106", "Did you mean 'bootstrap'?"),
    ],
)
def test_a_wrong_setting_says_what_to_write(keywords: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        rmtaudit.scan({"a.weight": torch.eye(8)}, **keywords)
    assert raised.value.code == code
    assert words in f"{raised.value.message} {raised.value.hint}"


def test_a_list_may_be_any_iterable() -> None:
    for names in (("scale",), iter(["scale"]), {"scale": None}):
        report = rmtaudit.scan({"a.weight": torch.eye(8)}, analyzers=names, threads=1)  # type: ignore[arg-type]
        assert report.tool["analyzers"] == ["scale"]
