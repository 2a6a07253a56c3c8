"""A package that is not installed is named, with the command that installs it."""

from __future__ import annotations

import pytest

from rmtaudit.checkpoints.optional import require
from rmtaudit.errors import InputError


def test_what_is_installed_is_returned() -> None:
    assert require("json", extra="x", what="X files", where="a.x").__name__ == "json"


def test_what_is_missing_is_named() -> None:
    with pytest.raises(InputError) as raised:
        require("no_such_package.inner", extra="onnx", what="ONNX models", where="a.onnx")
    assert raised.value.code == "RA-IN-099"
    assert "no_such_package," in raised.value.message
    assert raised.value.hint == "pip install 'rmtaudit[onnx]'"
