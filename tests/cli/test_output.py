from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from rmtaudit.cli.output import format_for, output_file
from rmtaudit.errors import OutputError, UsageError


@pytest.mark.parametrize(
    ("chosen", "file", "expected"),
    [
        (None, None, "table"),
        ("csv", None, "csv"),
        (None, "r.json", "json"),
        (None, "r.JSON", "json"),
        (None, "r.jsonl", "jsonl"),
        (None, "r.csv", "csv"),
        (None, "r.md", "markdown"),
        (None, "r.txt", "table"),
        ("markdown", "r.json", "markdown"),
    ],
)
def test_formats(chosen: str | None, file: str | None, expected: str) -> None:
    assert format_for(chosen, Path(file) if file else None) == expected


def test_an_ending_that_says_nothing() -> None:
    with pytest.raises(UsageError, match=r"'\.dat' does not indicate a format") as raised:
        format_for(None, Path("r.dat"))
    assert "--format" in raised.value.hint


def test_the_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    target.write_text("old")
    with output_file(target) as file:
        assert target.read_text() == "old"
        file.write("new\n")
        assert target.read_text() == "new\n"
    assert [item.name for item in tmp_path.iterdir()] == ["report.json"]


def test_a_run_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    target.write_text("old")
    with pytest.raises(RuntimeError), output_file(target):
        raise RuntimeError
    assert target.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["report.json"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to("real.json")
    with output_file(link) as file:
        file.write("new")
    assert link.is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"


def test_a_pipe_is_written_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()), daemon=True)
    reader.start()
    with output_file(pipe) as file:
        file.write("text")
    reader.join(timeout=10)
    assert received == ["text"]
    assert [item.name for item in tmp_path.iterdir()] == ["pipe"]


def test_what_cannot_be_written_is_known_at_once(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"w")
    (tmp_path / "same.json").symlink_to(weights)
    for path, message in (
        (tmp_path, "Is a folder"),
        (tmp_path / "absent" / "r.json", "No such file"),
        (weights / "r.json", "Not a directory"),
        (weights, "one of the inputs"),
        (tmp_path / "same.json", "one of the inputs"),
    ):
        with pytest.raises(OutputError, match=message) as raised, output_file(path, [weights]):
            pass
        assert raised.value.code == "RA-OU-002"
        assert raised.value.where == str(path)
    assert weights.read_bytes() == b"w"
