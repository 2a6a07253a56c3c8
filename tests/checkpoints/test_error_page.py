"""The page of errors and the code say the same."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"RA-IN-\d{3}")


def test_every_code_is_on_the_page_and_every_row_is_in_the_code() -> None:
    used = {
        code
        for path in (ROOT / "src/rmtaudit/checkpoints").rglob("*.py")
        for code in CODE.findall(path.read_text())
    }
    rows = re.findall(
        r"^\| (RA-IN-\d{3}) \| .+ \| .+ \|$", (ROOT / "docs/errors.md").read_text(), re.MULTILINE
    )
    assert len(rows) == len(set(rows))
    assert set(rows) == used
    assert rows == sorted(rows)


def test_the_public_names() -> None:
    import rmtaudit.checkpoints as package

    assert package.__all__ == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)
