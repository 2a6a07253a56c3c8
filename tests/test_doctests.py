"""The examples in the docstrings of the public functions run, and print what they say."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

import rmtaudit.linalg

PUBLIC = [
    "rmtaudit",
    "rmtaudit.engine.logdet.api",
    "rmtaudit.engine.samples.api",
    "rmtaudit.engine.scan.api",
    *(f"rmtaudit.linalg.{name}" for name in rmtaudit.linalg.__all__),
]


@pytest.mark.parametrize("name", PUBLIC)
def test_examples(name: str) -> None:
    result = doctest.testmod(import_module(name), raise_on_error=False)
    assert result.failed == 0
    assert result.attempted > 0
