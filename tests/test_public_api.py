from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import rmtaudit

DOCS = Path(__file__).parents[1] / "docs"


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


def test_what_plugins_import() -> None:
    from rmtaudit import plugins

    assert set(plugins.__all__) == set(plugins._HOME_OF)
    assert set(plugins.__all__) <= set(dir(plugins))
    for name in plugins.__all__:
        assert getattr(plugins, name) is not None
    pages = "".join(
        (DOCS / f"writing-{page}.md").read_text() for page in ("an-analyzer", "a-reader", "a-matrix-source")
    )
    for name in plugins.__all__:
        assert re.search(rf"\b{name}\b", pages), f"{name} is on no page"
    with pytest.raises(AttributeError, match="no attribute 'Anlyzer'"):
        plugins.Anlyzer  # noqa: B018


def test_the_bases_of_plugins_are_light() -> None:
    code = "import sys; from rmtaudit.plugins import Reader, Analyzer; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
