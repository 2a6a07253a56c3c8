from __future__ import annotations

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_the_numerical_library_is_current() -> None:
    spec = importlib.util.spec_from_file_location("generate_linalg", DOCS / "generate_linalg.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == (DOCS / "linalg.md").read_text(encoding="utf-8")
