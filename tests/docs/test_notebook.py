"""The page that shows a notebook: built by nbconvert, and current."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate_notebook", DOCS / "generate_notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def notebook(generator: Any) -> dict[str, Any]:
    pytest.importorskip("pandas")
    result: dict[str, Any] = generator.executed(json.loads(generator.NOTEBOOK.read_text(encoding="utf-8")))
    return result


def without_numbers(text: str) -> str:
    """Return the text with every number replaced: the last digits differ between machines."""
    return re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "0", text)


def test_the_notebook_runs_and_its_outputs_are_current(generator: Any, notebook: dict[str, Any]) -> None:
    written = json.loads(generator.NOTEBOOK.read_text(encoding="utf-8"))
    again = "run: python docs/generate_notebook.py"
    for cell, known in zip(notebook["cells"], written["cells"], strict=True):
        texts = [without_numbers(json.dumps(each, sort_keys=True)) for each in (cell, known)]
        if "image/svg+xml" not in texts[0]:  # positions in a figure have any number of digits
            assert texts[0] == texts[1], again
    assert notebook["cells"][-1]["outputs"][0]["data"]["text/plain"] == "True"


def test_the_page_is_built_by_nbconvert_and_current(generator: Any, notebook: dict[str, Any]) -> None:
    pytest.importorskip("nbconvert", reason="the test group has nbconvert")
    text, figures = generator.page(notebook)
    assert without_numbers(text) == without_numbers(generator.PAGE.read_text(encoding="utf-8"))
    assert [name for name in figures if not (DOCS / name).is_file()] == []
    assert all(data.startswith(b"<svg ") for data in figures.values())
