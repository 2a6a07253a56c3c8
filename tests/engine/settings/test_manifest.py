"""The manifest of a zoo: what it says, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmtaudit.engine.settings.manifest import ManifestModel, read_manifest
from rmtaudit.errors import UsageError
from rmtaudit.report.zoo import Quality


def written(folder: Path, text: str) -> Path:
    file = folder / "zoo.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_manifest_has_names_families_and_qualities(tmp_path: Path) -> None:
    text = """
models:
  - path: a.safetensors
    name: A
    family: nets
    quality:
      accuracy: {value: 91.5, higher_is_better: true}
      error: {value: 8, higher_is_better: false}
  - path: sub/b.pt
  - report: c.json
"""
    assert read_manifest(written(tmp_path, text)) == (
        ManifestModel(
            path="a.safetensors",
            report="",
            name="A",
            family="nets",
            quality={
                "accuracy": Quality(value=91.5, higher_is_better=True),
                "error": Quality(value=8, higher_is_better=False),
            },
        ),
        ManifestModel(path="sub/b.pt", report="", name="sub/b.pt"),
        ManifestModel(path="", report="c.json", name="c.json"),
    )


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "RA-ZO-002", ""),
        ("models: 3", "RA-ZO-002", ""),
        ("models:\n  - a.pt", "RA-ZO-003", ":"),
        ("models:\n  - name: A", "RA-ZO-003", ":2"),
        ("models:\n  - path: a\n    nmae: A", "RA-ZO-003", ":3"),
        ("models:\n  - path: 3", "RA-ZO-003", ":2"),
        ("models:\n  - path: a\n    quality: 3", "RA-ZO-003", ":3"),
        ("models:\n  - path: a\n    quality: {top: 3}", "RA-ZO-003", ":3"),
        ("models:\n  - path: a\n    quality: {top: {value: 3}}", "RA-ZO-003", ":3"),
        (
            "models:\n  - path: a\n    quality: {top: {value: high, higher_is_better: true}}",
            "RA-ZO-003",
            ":3",
        ),
        ("models:\n  - path: a\n    quality: {top: {value: 3, higher_is_better: 1}}", "RA-ZO-003", ":3"),
        ("models:\n  - path: a\n  - path: a", "RA-ZO-004", ""),
        ("models: [*x]", "RA-CF-003", ":1"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(tmp_path: Path, text: str, code: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_manifest(written(tmp_path, text))
    assert caught.value.code == code
    assert line in caught.value.where


def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="RA-ZO-001"):
        read_manifest(tmp_path / "none.yaml")
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"models: [\xff]")
    with pytest.raises(UsageError, match="RA-ZO-001"):
        read_manifest(file)
