from __future__ import annotations

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_findings_is_current() -> None:
    spec = importlib.util.spec_from_file_location("generate_findings", DOCS / "generate_findings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    current = (DOCS / "findings.md").read_text(encoding="utf-8")
    assert current == module.page(), "run: python docs/generate_findings.py"
