"""The machine formats, and what becomes of hostile names in them."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from types import ModuleType

import pytest

from rmtaudit.errors import UsageError
from rmtaudit.report.formats import FORMATS
from rmtaudit.report.model import failed_subject
from rmtaudit.report.plain import plain
from rmtaudit.report.writers import writer_for
from rmtaudit.report.writers.markdown import escape_markdown

LOST = failed_subject("zoo/lost\x1b[2J.bin", "RA-IN-001", "No such file.", "Check the path.")


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(UsageError, match="Formats: json, jsonl, csv, markdown"):
        writer_for("xml")


def test_no_format_lets_a_name_out_of_its_line(made: ModuleType) -> None:
    for name in FORMATS:
        text = writer_for(name)([made.hostile_report(), LOST])
        bad = {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
        assert not bad, name
        assert not re.search(r"^::", text, re.MULTILINE), name
        assert text.endswith("\n"), name


def test_json_of_one_and_of_several(made: ModuleType) -> None:
    write = writer_for("json")
    assert json.loads(write([made.report()])) == made.report().to_dict()
    several = json.loads(write([made.report(), LOST]))
    assert [list(entry)[-1] for entry in several["reports"]] == ["timings", "error"]


def test_jsonl_has_an_event_a_layer_and_a_summary(made: ModuleType) -> None:
    report = made.report()
    events = [json.loads(line) for line in writer_for("jsonl")([report, LOST]).splitlines()]
    assert [event["event"] for event in events] == ["layer"] * len(report.layers) + ["summary", "error"]
    for event, layer in zip(events[:-2], report.layers, strict=True):
        assert event.pop("event") == "layer"
        assert event.pop("subject") == report.subject["path"]
        assert event == plain(layer)
    assert events[-2]["summary"] == report.to_dict()["summary"]
    assert "layers" not in events[-2]


def test_csv_has_a_row_a_layer_and_uncertainty_only_where_there_is_any(made: ModuleType) -> None:
    rows = list(csv.DictReader(io.StringIO(writer_for("csv")([made.report(), LOST]))))
    assert len(rows) == len(made.report().layers) + 1
    assert rows[0]["name"] == "encoder.layer.0.weight"
    assert rows[0]["shape"] == "384x1536"
    assert float(rows[0]["alpha"]) == 2.5
    assert [float(rows[0][f"alpha_{part}"]) for part in ("se", "lo", "hi")] == [0.153, 2.5, 3.5]
    assert not [column for column in rows[0] if column.startswith("xmin_")]
    assert float(rows[0]["log10_spectral_norm"]) == -1.5
    assert rows[4]["status"] == "failed"
    assert rows[4]["alpha"] == ""
    assert rows[-1]["status"] == "failed"
    assert "RA-IN-001" in rows[-1]["reason"]


def test_csv_cells_are_no_formulas(made: ModuleType) -> None:
    rows = list(csv.reader(io.StringIO(writer_for("csv")([made.hostile_report()]))))
    for row in rows:
        for cell in row:
            assert not cell.startswith(("=", "+", "@")), cell
            assert not cell.startswith("-") or float(cell) < 0, cell
    names = [row[1] for row in rows]
    assert "'=1+1" in names
    assert "'@SUM(A1)" in names
    assert "x" * 5000 in names


def test_markdown_escapes_what_markdown_would_read() -> None:
    for text, shown in (
        ("a|b", r"a\|b"),
        ("`x`", r"\`x\`"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("a\r\nb", r"a\\x0d\\x0ab"),
        ("self_attn.q_proj", "self_attn.q_proj"),
        ("_em_ *b*", r"\_em\_ \*b\*"),
        ("[x](y)", r"\[x\](y)"),
        ("@octocat", "&#64;octocat"),
    ):
        assert escape_markdown(text) == shown


def test_markdown_tables_keep_their_columns(made: ModuleType) -> None:
    text = writer_for("markdown")([made.hostile_report()])
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(made.hostile_report().layers)
    columns = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert columns == {len(made.COLUMNS) + 7}
    assert "<script" not in text


def test_markdown_says_what_is_in_the_report(made: ModuleType) -> None:
    text = writer_for("markdown")([made.report(), LOST])
    assert "mean alpha 5.167 over 3 layers" in text
    assert "99.4 % of 22.7 M parameters" in text
    assert "2.50 \\[2.50–3.50\\]" in text
    assert text.startswith("## models/model.safetensors\n")
    assert "- Names: layer = encoder.layer.\\*.weight" in text
    assert text.index("\n| 4 |") < text.index("\n| 2 |")
    assert "| failed: nonfinite: 3 values are not finite |" in text
    assert "Could not be scanned: No such file. (RA-IN-001)" in text


def test_csv_has_the_verdict_and_the_codes(made: ModuleType) -> None:
    finding = made.finding("RA-FO-001", "error", "The rank is 3 of 9.")
    report = made.report((made.layer("a", verdict="damaged (RA-FO-001)", findings=(finding, finding)),))
    (row,) = csv.DictReader(io.StringIO(writer_for("csv")([report])))
    assert (row["verdict"], row["findings"]) == ("damaged (RA-FO-001)", "RA-FO-001 RA-FO-001")


def test_markdown_counts_the_findings_for_information(made: ModuleType) -> None:
    findings = tuple(
        made.finding("RA-NF-004", severity, f"of {severity}") for severity in ("info", "warning", "info")
    )
    text = writer_for("markdown")([made.report((made.layer("a", findings=findings),))])
    assert "- Finding (warning): a: of warning" in text
    assert "of info" not in text
    assert "- Findings for information: 2, in the JSON" in text
