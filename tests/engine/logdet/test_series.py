"""Tables of log-determinants: what is read of them, and the real kernel of a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rmtaudit.engine.logdet.answer import LogDeterminant
from rmtaudit.engine.logdet.requests import answer_request
from rmtaudit.engine.logdet.series import read_table
from rmtaudit.engine.logdet.settings import LogdetSettings
from rmtaudit.engine.sources import SourceOptions
from rmtaudit.errors import InputError, RmtauditError, UsageError


def answer(path: Path, select: str = "", **settings: object) -> LogDeterminant:
    return answer_request(str(path), SourceOptions(), LogdetSettings(**settings), series=True, select=select)  # type: ignore[arg-type]


def test_the_kernel_of_a_real_network(shared: Callable[..., Path]) -> None:
    path = shared("data", "ntk_resnet50_cifar10", "index.csv")
    found = answer(path, "l9_", size=4096, up_to=2048, outputs=9)
    assert found.status == "ok"
    held = found.evidence["held_out"]
    assert held["inside"]
    assert abs(held["error_per_dimension"]) <= 0.01
    assert found.dimension == 4096 * 9
    dirty = answer(path, "fp64_p", size=4096, up_to=2048, outputs=10)
    assert dirty.status == "refused"
    assert "rounding" in dirty.reason
    assert dirty.evidence["floor"]["reached"]
    known = answer(path, "l9_", size=4096, outputs=9)
    assert known.logdet == held["logdet"]
    assert "held_out" not in known.evidence
    assert known.margin is None  # as exact as whoever wrote the table computed it


def test_points_or_rows(tmp_path: Path) -> None:
    by_points, by_rows = tmp_path / "points.csv", tmp_path / "rows.csv"
    by_points.write_text("n,logdet\n" + "".join(f"{n},{-n * 1.5}\n" for n in (8, 2, 4)))
    by_rows.write_text("rows, LogDet\n" + "".join(f"{3 * n},{-n * 1.5}\n" for n in (2, 4, 8)))
    assert read_table(by_points, "", 3).entries == read_table(by_rows, "", 3).entries
    assert [each.points for each in read_table(by_rows, "", 3).entries] == [2, 4, 8]


@pytest.mark.parametrize(
    ("text", "select", "outputs", "error", "code"),
    [
        ("", "", 1, InputError, "RA-LD-033"),
        ("a,b\n1,2\n", "", 1, InputError, "RA-LD-033"),
        ("n,logdet\n1,\n", "", 1, InputError, "RA-LD-033"),
        ("n,logdet\n1,2\n", "zzz", 1, InputError, "RA-LD-033"),
        ("n,logdet\n1,x\n", "", 1, InputError, "RA-LD-034"),
        ("n,logdet\n1,nan\n", "", 1, InputError, "RA-LD-034"),
        ("n,logdet\n1,1e999\n", "", 1, InputError, "RA-LD-034"),
        ("n,logdet\n1.5,2\n", "", 1, UsageError, "RA-LD-035"),
        ("rows,logdet\n10,2\n", "", 3, UsageError, "RA-LD-035"),
        ("n,logdet\n4,2\n4,3\n", "", 1, UsageError, "RA-LD-035"),
    ],
)
def test_tables_that_are_none(
    text: str, select: str, outputs: int, error: type[RmtauditError], code: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(error) as raised:
        read_table(path, select, outputs)
    assert raised.value.code == code


def test_what_a_series_needs(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("n,logdet\n" + "".join(f"{n},{-n}\n" for n in (10, 20, 40)))
    with pytest.raises(UsageError, match="size"):
        answer(path)
    with pytest.raises(UsageError) as raised:
        answer(path, size=80, up_to=5)
    assert raised.value.code == "RA-LD-032"
    few = answer(path, size=80)
    assert few.status == "refused"
    assert "too few sizes" in few.reason
