from __future__ import annotations

import re
import subprocess
import sys

import pytest

import rmtaudit


def test_exported_members() -> None:
    assert rmtaudit.__all__ == ["Report", "__version__", "density", "logdet", "open_checkpoint", "scan"]
    assert rmtaudit.__all__ == sorted(rmtaudit.__all__)
    assert set(rmtaudit.__all__) <= set(dir(rmtaudit))
    for name in rmtaudit.__all__:
        assert getattr(rmtaudit, name) is not None
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", rmtaudit.__version__)


def test_an_unknown_member() -> None:
    with pytest.raises(AttributeError, match="no attribute 'scna'"):
        rmtaudit.scna  # noqa: B018


def test_the_import_is_free() -> None:
    code = "import sys, rmtaudit; assert not {'torch', 'numpy', 'click', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
