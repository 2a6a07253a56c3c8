"""``rmtaudit report``: from a written report to every format, without weights or analyzers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.cli.rendering import rendered
from rmtaudit.cli.table import table_text
from rmtaudit.errors import CorruptError
from rmtaudit.report.document import dumps, results_to_dict
from rmtaudit.report.formats import FORMATS
from rmtaudit.report.model import failed_subject
from rmtaudit.report.parsing import loads
from rmtaudit.report.writers import writer_for

LOST = failed_subject("lost.bin", "RA-IN-001", "No such file.", "Check the path.")


@pytest.fixture
def written(made: ModuleType, tmp_path: Path) -> Path:
    path = tmp_path / "report.json"
    path.write_text(dumps(made.report().to_dict()))
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_what_the_scan_would_have_written(
    name: str, written: Path, made: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, ["report", str(written), "--format", name]) == 0
    assert capsys.readouterr().out == writer_for(name)([made.report()])
    target = written.with_name(f"copy.{ {'markdown': 'md'}.get(name, name) }")
    assert run(cli, ["report", str(written), "-o", str(target)]) == 0
    assert target.read_text() == writer_for(name)([made.report()])
    assert capsys.readouterr() == ("", "")


def test_the_table_is_the_default(
    written: Path, made: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, ["report", str(written), "--top", "3"]) == 0
    assert capsys.readouterr().out == table_text([made.report()], top=3)


def test_several_subjects_and_one_that_was_lost(
    made: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "zoo.json"
    path.write_text(dumps(results_to_dict([made.report(), LOST])))
    assert run(cli, ["report", str(path), "--format", "csv"]) == 2
    out, err = capsys.readouterr()
    assert out == writer_for("csv")([made.report(), LOST])
    assert "rmtaudit: error: lost.bin: No such file. [RA-IN-001]" in err


def test_what_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.json"
    for text, code in (("{", "RA-RP-001"), ("{}", "RA-RP-002")):
        path.write_text(text)
        assert run(cli, ["report", str(path)]) == 2
        assert f"{path}: The file is not " in (err := capsys.readouterr().err)
        assert code in err
    assert run(cli, ["report", str(tmp_path)]) == 2
    assert "RA-RP-005" in capsys.readouterr().err
    assert run(cli, ["report", str(tmp_path / "absent.json")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_the_input_is_not_overwritten(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = written.read_text()
    assert run(cli, ["report", str(written), "-o", str(written)]) == 2
    assert "one of the inputs" in capsys.readouterr().err
    assert written.read_text() == before


@given(data=st.data())
def test_whatever_is_read_can_be_rendered(data: st.DataObject, made: ModuleType) -> None:
    document: Any = copy.deepcopy(made.report(made.report().layers[:2]).to_dict())
    owner: Any = document
    while True:
        key = data.draw(st.sampled_from(list(owner) if isinstance(owner, dict) else list(range(len(owner)))))
        if not (isinstance(owner[key], dict | list) and owner[key]) or data.draw(st.integers(0, 3)) == 0:
            break
        owner = owner[key]
    owner[key] = data.draw(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(10**18), 10**18),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(max_size=4),
            st.just([]),
            st.just({}),
            st.just({"": 1}),
        )
    )
    try:
        results = loads(json.dumps(document))
    except CorruptError:
        return
    for name in (*FORMATS, "table"):
        rendered(list(results), name, 0)


def test_a_summary_is_written_on_demand_and_only_as_json(
    made: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "full.json", tmp_path / "summary.json"
    source.write_text(dumps(results_to_dict([made.report()])), encoding="utf-8")
    flags = ["--json-detail", "summary"]
    assert run(cli, ["report", str(source), *flags, "-o", str(target)]) == 0
    assert json.loads(target.read_text())["detail"] == "summary"
    assert run(cli, ["report", str(source), *flags, "--format", "jsonl"]) == 0
    *rows, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert last["detail"] == "summary"
    assert all(row["spectrum"] == {} for row in rows)
    for wrong in ([], ["--format", "csv"], ["-o", str(tmp_path / "x.md")]):
        assert run(cli, ["report", str(source), *flags, *wrong]) == 2
        assert "RA-US-003" in capsys.readouterr().err
    texts = []
    for file in (source, target):
        assert run(cli, ["report", str(file)]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
