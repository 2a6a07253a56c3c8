"""The table: never wider than the terminal, no control characters, colour where it means something."""

from __future__ import annotations

import io
import re
import unicodedata
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console

from rmtaudit.cli import table
from rmtaudit.cli.table import elide, table_text


def lines(text: str) -> list[str]:
    return text.split("\n")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 300])
def test_no_line_is_wider_than_the_terminal(
    made: ModuleType, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for report in (made.report(), made.hostile_report()):
        text = table_text([report], top=0)
        assert max(cell_len(line) for line in lines(text)) <= width
        rows = [line for line in lines(text) if "384×1536" in line or width < 80]
        assert len(rows) >= len(report.layers)


def test_narrow_tables_show_fewer_metrics_and_wide_ones_all(
    made: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heads(width: str) -> str:
        monkeypatch.setenv("COLUMNS", width)
        return next(line for line in lines(table_text([made.report()], top=0)) if line.startswith("layer"))

    assert "alpha [interval]" in heads("80")
    assert "log10 σ1" not in heads("80")
    assert re.split(r"\s{2,}", heads("120").strip()) == [
        "layer", "kind", "shape", "alpha [interval]", "xmin", "KS", "tail", "stable rank", "log10 σ1",
        "status",
    ]  # fmt: skip
    assert "nonfinite: 3 values" not in table_text([made.report()], top=0)
    heads("160")
    assert "failed: nonfinite: 3 values are not finite" in table_text([made.report()], top=0)


def test_off_a_terminal_the_width_is_that_of_columns_or_160(
    made: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value, width in ((None, 160), ("", 160), ("abc", 160), ("²", 160), ("100", 100), ("1", 40)):
        monkeypatch.delenv("COLUMNS", raising=False)
        if value is not None:
            monkeypatch.setenv("COLUMNS", value)
        longest = max(cell_len(line) for line in lines(table_text([made.hostile_report()], top=0)))
        assert width - 10 < longest <= width


def test_hostile_names_are_shown_and_obeyed_by_nobody(made: ModuleType) -> None:
    text = table_text([made.hostile_report()], top=0)
    bad = {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert not bad
    assert not re.search(r"^::", text, re.MULTILINE)
    assert r"\x1b[31mred\x1b[0m.weight" in text
    assert "[red]markup[/red].weight" in text
    assert r":smile: [/] \[x]" in text
    assert "名前.weight" in text


def test_rows_are_worst_first_and_cut_at_top(made: ModuleType) -> None:
    text = table_text([made.report()], top=2)
    shown = re.findall(r"^encoder\.layer\.(\d+)", text, re.MULTILINE)
    assert shown == ["4", "2"]
    assert "… and 4 more: --top 0 shows all" in text
    everything = table_text([made.report()], top=0)
    assert re.findall(r"^encoder\.layer\.(\d+)", everything, re.MULTILINE) == ["4", "2", "10", "0", "3", "5"]
    assert "more: --top" not in everything


def test_what_is_said_beside_the_rows(made: ModuleType) -> None:
    text = table_text([made.report()], top=0)
    for sentence in (
        "model.safetensors",
        "safetensors · 101 tensors · 22.7 M parameters · float32",
        "worst layers first: alpha, highest first",
        "mean alpha 5.167 over 3 layers · 1 failed · 1 skipped",
        "99.4 % of 22.7 M parameters in 4 layers",
        "1 quantised · 1 vector (bias, norm, statistic)",
        "preset default · scale, powerlaw · seed 0 · cpu",
        "Metrics, not a verdict",
    ):
        assert sentence in text
    assert "stopped" not in text
    assert "stopped before the end" in table_text([made.report(complete=False)], top=0)


def test_the_status_column_is_there_only_if_needed(made: ModuleType) -> None:
    assert "status" not in table_text([made.report((made.layer("a"), made.layer("b")))], top=0)
    assert "status" in table_text([made.report()], top=0)


def test_a_report_without_rows_has_no_table(made: ModuleType) -> None:
    base = made.report()
    empty = replace(base, layers=(), summary={}, metrics={})
    text = table_text([empty], top=0)
    assert "kind" not in text
    assert "coverage" in text


def test_findings_stand_below_with_the_worst_first(made: ModuleType) -> None:
    text = table_text([made.hostile_report()], top=0)
    found = re.findall(r"^(error|warning|info) +", text, re.MULTILINE)
    assert found == sorted(found, key=["error", "warning", "info"].index)
    assert 2 <= len(found) <= 10
    assert "for information: see --format json" in text


def test_findings_beyond_the_tenth_are_counted(made: ModuleType) -> None:
    findings = tuple(made.finding(f"XY-{number}", "error", "Something.") for number in range(12))
    text = table_text([made.report((made.layer("a", findings=findings),))], top=0)
    assert len(re.findall(r"^error +", text, re.MULTILINE)) == 10
    assert "2 more: see --format json" in text


def test_a_cause_takes_one_line(made: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    dead = (made.finding("RA-FO-005", "warning", "The layer has 9 dead rows."),)
    rows = tuple(made.layer(f"block.{place}.w", findings=dead) for place in range(41))
    text = table_text([made.report(rows)], top=0)
    assert len(re.findall(r"^warning +", text, re.MULTILINE)) == 1
    assert "dead rows or columns in 41 layers (block.0.w, block.1.w, block.2.w and 38 more)" in text


def test_colour_is_for_what_failed(made: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def printed(**environ: str) -> str:
        for key in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(key, raising=False)
        for key, value in environ.items():
            monkeypatch.setenv(key, value)
        text = io.StringIO()
        console = Console(file=text, force_terminal=True, width=100, color_system="standard")
        table.draw_report(console, made.report(), 0)
        return text.getvalue()

    coloured = [line for line in printed().splitlines() if "\x1b[31m" in line]
    assert len(coloured) == 1
    assert "encoder.layer.4" in coloured[0]
    assert "\x1b[31m" not in printed(NO_COLOR="1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in table_text([made.report()], top=0)


@given(st.text(max_size=30), st.integers(1, 30), st.booleans())
def test_elided_texts_fit_and_keep_their_ends(text: str, width: int, keep_end: bool) -> None:
    shown = elide(text, width, keep_end=keep_end)
    assert cell_len(shown) <= width
    if shown == text:
        return
    head, _, tail = shown.partition("…") if "…" not in text else (shown, "", "")
    assert "…" in shown
    if "…" not in text:
        assert text.startswith(head)
        assert text.endswith(tail)
