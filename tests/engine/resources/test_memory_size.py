from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.engine.resources import memory_size
from rmtaudit.engine.resources.memory_size import parse_memory


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (4096, 4096),
        ("4097", 4097),
        ("4GB", 4 * 10**9),
        ("4 gb", 4 * 10**9),
        ("4G", 4 * 10**9),
        ("1.5GiB", 3 * 2**29),
        ("512MiB", 2**29),
        ("7kB", 7000),
        ("2T", 2 * 10**12),
    ],
)
def test_sizes(text: int | str, size: int) -> None:
    assert parse_memory(text) == size


def test_a_share_is_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_size, "free_memory", lambda: 1000)
    assert parse_memory("50%") == 500
    assert parse_memory("12.5 %") == 125
    with pytest.raises(ValueError, match="at most 100%"):
        parse_memory("101%")


@pytest.mark.parametrize(
    "text", ["", "GB", "-1GB", "1e3", "00", "0GB", "0.0000001", "nan", "1 PB", "٣GB", 0, -5]
)
def test_what_is_no_size(text: int | str) -> None:
    with pytest.raises(ValueError, match="a size"):
        parse_memory(text)


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_memory(text) > 0
