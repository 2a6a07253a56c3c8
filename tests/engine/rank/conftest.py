from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FACTORY = Path(__file__).parents[2] / "report" / "factory.py"


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """Return the module of hand-made reports."""
    spec = importlib.util.spec_from_file_location("hand_made_reports", FACTORY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
