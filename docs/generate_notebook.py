"""Run ``docs/notebook.ipynb``, write its outputs into it, and convert it to ``docs/notebook.md``.

Run ``python docs/generate_notebook.py`` after a change to the notebook or to what it shows; a test compares
the pages. The cells run in this process, so no kernel is needed. nbconvert makes the page.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
NOTEBOOK = FOLDER / "notebook.ipynb"
PAGE = FOLDER / "notebook.md"
_IMAGES = "images"


def executed(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """Return the notebook with the outputs of its cells, which run in their order from the checkout."""
    space: dict[str, Any] = {"__name__": "__main__"}
    cells = []
    count = 0
    with _working_folder(FOLDER.parent):
        for cell in notebook["cells"]:
            if cell["cell_type"] != "code":
                cells.append(cell)
                continue
            count += 1
            outputs = list(_outputs(cell["source"], space, count))
            cells.append({**cell, "execution_count": count, "outputs": outputs})
    return {**notebook, "cells": cells}


def page(notebook: Mapping[str, Any]) -> tuple[str, dict[str, bytes]]:
    """Return the Markdown of an executed notebook, and the figures that it shows by their file names."""
    import nbformat
    from nbconvert import MarkdownExporter

    names = {"unique_key": NOTEBOOK.stem, "output_files_dir": _IMAGES}
    node = nbformat.from_dict(notebook)  # type: ignore[no-untyped-call]
    text, resources = MarkdownExporter().from_notebook_node(node, resources=names)
    lines = [line.rstrip() for line in text.replace("\\", "/").splitlines()]
    return "\n".join(lines).strip() + "\n", dict(resources["outputs"])


def main() -> None:
    """Write the notebook, the page and its figures."""
    notebook = executed(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text, figures = page(notebook)
    PAGE.write_text(text, encoding="utf-8")
    for name, data in figures.items():
        (FOLDER / name).write_bytes(data)


def _outputs(source: str, space: dict[str, Any], count: int) -> Iterator[dict[str, Any]]:
    """Yield what a cell prints, and the value of its last line if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, NOTEBOOK.name, "exec"), space)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), space)
    if printed.getvalue():
        yield {"output_type": "stream", "name": "stdout", "text": printed.getvalue()}
    if value is not None:
        data = {"text/plain": repr(value)}
        for kind, method in (("text/html", "_repr_html_"), ("image/svg+xml", "_repr_svg_")):
            shown = getattr(value, method, None)
            if shown is not None:
                data[kind] = shown()
        yield {"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": data}


@contextlib.contextmanager
def _working_folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


if __name__ == "__main__":
    main()
