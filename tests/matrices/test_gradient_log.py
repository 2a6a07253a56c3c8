"""Gradient norms from the log of a training: what is taken, and what is refused."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.errors import CorruptError, InputError, NotACheckpointError
from rmtaudit.matrices.gradient_log import read_gradient_norms

ROOT = Path(__file__).resolve().parents[2]
START = {
    "schema": {"name": "rmtaudit.training", "version": "1.0"},
    "kind": "start",
    "parameters": ["a.weight", "a.bias", "b.weight"],
}


def step(number: int, *norms: float | None, **more: Any) -> dict[str, Any]:
    return {"kind": "gradients", "step": number, "norms": list(norms), **more}


def log(path: Path, *records: dict[str, Any] | str) -> Path:
    lines = (record if isinstance(record, str) else json.dumps(record) for record in records)
    file = path / "log.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.lists(st.floats(0, 1e6, allow_nan=False), min_size=3, max_size=3), min_size=1, max_size=8
    )
)
def test_the_norm_of_all_and_of_one(
    rows: list[list[float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = [step(number, *norms) for number, norms in enumerate(rows, 1)]
    file = log(tmp_path_factory.mktemp("log"), START, *records, {"kind": "cost", "step": 9})
    sample = read_gradient_norms(file)
    assert sample.values.tolist() == pytest.approx([math.hypot(*norms) for norms in rows])
    assert (sample.parameters, sample.steps) == (3, (1, len(rows)))
    one = read_gradient_norms(file, parameter="a.bias")
    assert one.values.tolist() == [norms[1] for norms in rows]
    pattern = read_gradient_norms(file, parameter="*.weight")
    assert pattern.values.tolist() == pytest.approx([math.hypot(norms[0], norms[2]) for norms in rows])


def test_windows_and_what_is_left_out(tmp_path: Path) -> None:
    file = log(
        tmp_path,
        START,
        step(1, 1.0, 1.0, 1.0),
        step(2, None, 2.0, 2.0, nonfinite=[0]),
        step(3, None, 3.0, 4.0),
        step(4, None, None, None),
        step(5, 5.0, 0.0, 0.0),
    )
    everything = read_gradient_norms(file)
    assert everything.values.tolist() == pytest.approx([math.sqrt(3), 5.0, 5.0])
    assert (everything.nonfinite, everything.absent) == (1, 1)
    assert read_gradient_norms(file, parameter="a.bias").nonfinite == 0
    assert read_gradient_norms(file, window=(3, 5)).steps == (3, 3)
    assert read_gradient_norms(file, window=(4, None)).steps == (5, 5)
    with pytest.raises(InputError, match="in this window") as raised:
        read_gradient_norms(file, window=(6, None))
    assert raised.value.code == "RA-GN-004"


def test_runs_of_one_file_are_taken_together_by_name(tmp_path: Path) -> None:
    swapped = {**START, "parameters": ["b.weight", "a.weight"]}
    file = log(tmp_path, START, step(1, 1.0, 2.0, 3.0), swapped, step(2, 30.0, 10.0))
    assert read_gradient_norms(file, parameter="a.weight").values.tolist() == [1.0, 10.0]


def test_a_last_line_that_a_crash_cut_is_not_read(tmp_path: Path) -> None:
    file = log(tmp_path, START, step(1, 1.0, 2.0, 3.0))
    with file.open("a") as opened:
        opened.write('{"kind":"gradients","step":2,"norms":[1.0,')
    assert read_gradient_norms(file).steps == (1, 1)
    with file.open("a") as opened:
        opened.write("\n")
    with pytest.raises(CorruptError, match="Line 3") as raised:
        read_gradient_norms(file)
    assert raised.value.code == "RA-GN-003"


@pytest.mark.parametrize(
    ("records", "code", "kind"),
    [
        ([step(1, 1.0, 2.0, 3.0)], "RA-GN-002", NotACheckpointError),
        (['{"loss": 1.0}'], "RA-GN-002", NotACheckpointError),
        (["1.0"], "RA-GN-002", NotACheckpointError),
        ([], "RA-GN-002", NotACheckpointError),
        ([{**START, "schema": {"name": "other"}}], "RA-GN-002", NotACheckpointError),
        ([START, "{}"], "RA-GN-003", CorruptError),
        ([START, step(1, 1.0)], "RA-GN-003", CorruptError),
        ([START, step(1, -1.0, 1.0, 1.0)], "RA-GN-003", CorruptError),
        ([START, '{"kind":"gradients","step":1,"norms":[NaN,1,1]}'], "RA-GN-003", CorruptError),
        ([START, '{"kind":"gradients","step":1,"norms":[1e999,1,1]}'], "RA-GN-003", CorruptError),
        ([START, "[" * 100_000], "RA-GN-003", CorruptError),
        ([{"schema": START["schema"], "kind": "start"}], "RA-GN-003", CorruptError),
        ([START], "RA-GN-004", InputError),
    ],
    ids=range(13),
)
def test_what_is_refused(
    records: list[dict[str, Any] | str], code: str, kind: type[InputError], tmp_path: Path
) -> None:
    with pytest.raises(kind) as raised:
        read_gradient_norms(log(tmp_path, *records))
    assert raised.value.code == code
    assert raised.value.where == str(tmp_path / "log.jsonl")


def test_an_unknown_parameter_and_no_file(tmp_path: Path) -> None:
    file = log(tmp_path, START, step(1, 1.0, 2.0, 3.0))
    with pytest.raises(InputError, match=r"Did you mean 'a\.weight'") as raised:
        read_gradient_norms(file, parameter="a.wieght")
    assert raised.value.code == "RA-GN-005"
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name in ("absent.jsonl", "pipe.jsonl"):
        with pytest.raises(InputError) as raised:
            read_gradient_norms(tmp_path / name)
        assert raised.value.code == "RA-GN-001"


def test_every_code_is_on_the_page() -> None:
    code = re.compile(r"RA-(?:GN|TR)-\d{3}")
    folders = (ROOT / "src/rmtaudit/training", ROOT / "src/rmtaudit/matrices")
    used = {
        each for folder in folders for file in folder.rglob("*.py") for each in code.findall(file.read_text())
    }
    page = (ROOT / "docs/errors.md").read_text()
    for family in ("GN", "TR"):
        rows = re.findall(rf"^\| (RA-{family}-\d{{3}}) \| .+ \| .+ \|$", page, re.MULTILINE)
        assert rows == sorted(each for each in used if each[3:5] == family)
