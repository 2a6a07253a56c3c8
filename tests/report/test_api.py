"""A report in Python: its text, its layers by name, and its files."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from msgspec.structs import replace

import rmtaudit
from rmtaudit.errors import InputError, OutputError, UsageError
from rmtaudit.report.document import dumps, results_to_dict
from rmtaudit.report.model import failed_subject
from rmtaudit.report.writers import writer_for

LOST = failed_subject("lost.bin", "RA-IN-001", "No such file.", "Check the path.")


def injured(made: ModuleType) -> rmtaudit.Report:
    codes = [
        ("RA-FO-001", "error"),
        ("RA-FO-005", "warning"),
        ("RA-FO-004", "warning"),
        ("RA-NF-002", "info"),
    ]
    rows = tuple(
        made.layer(f"layers.{place}.weight", findings=(made.finding(code, severity, "Something was found."),))
        for place, (code, severity) in enumerate(codes)
    )
    report: rmtaudit.Report = made.report(rows, verdict="damaged (RA-FO-001)")
    return report


def test_the_text_has_ten_lines_and_the_worst_findings(made: ModuleType) -> None:
    lines = repr(injured(made)).splitlines()
    assert lines[0] == "Report of models/model.safetensors"
    assert lines[1] == "integrity  damaged (RA-FO-001)"
    assert lines[6] == "findings   1 error, 2 warnings, 1 for information"
    assert [line.split()[0] for line in lines[7:]] == ["error", "warning", "warning"]
    assert len(lines) == 10


@pytest.mark.parametrize("count", [0, 1, 400])
def test_no_report_has_a_long_text(made: ModuleType, count: int) -> None:
    rows = tuple(
        made.layer(
            f"{'block.' * 40}{place}\n\x1b[31m",
            findings=(made.finding(f"XX-{place:03}", "error", "very " * 500),),
        )
        for place in range(count)
    )
    subject = {
        **made.report().subject,
        "path": "x/" * 5000,
        "dtypes": {f"type{n}" * 50: 1 for n in range(99)},
    }
    for report in (made.report(rows, subject=subject) if rows else made.report(), made.hostile_report()):
        text = repr(report)
        assert len(text) < 2000
        assert len(text.splitlines()) <= 10
        assert "\x1b" not in text
        assert all(len(repr(layer)) < 800 for layer in report.layers)
        assert all("\x1b" not in repr(layer) for layer in report.layers)


def test_a_layer_has_a_short_text(made: ModuleType) -> None:
    assert repr(made.layer("a.weight", matrices=3)).splitlines() == [
        "Layer a.weight",
        "  dense, 3 matrices of 384 × 1536, float32, 590 k parameters; ok",
        "  integrity ok, signal unjudged",
        "  metrics: alpha 3.000 · xmin 0.01234 · ks_distance 0.04560 · tail_size 120 · stable_rank 45.68 · "
        "log10_spectral_norm -1.500 · 1 more",
        "  findings: none",
    ]


def test_layers_are_looked_up_by_name(made: ModuleType) -> None:
    rows = (
        made.layer("a.weight"),
        made.layer("qkv#q", tensor="qkv"),
        made.layer("qkv#k", tensor="qkv"),
        made.layer("one#x", tensor="one"),
    )
    report = made.report(rows)
    assert report["a.weight"] is rows[0]
    assert report["one"] is rows[3]
    assert "a.weight" in report
    assert "qkv" not in report
    assert [layer.name for layer in report] == [layer.name for layer in rows]
    for name, words in (
        ("a.wieght", "Did you mean 'a.weight'?"),
        ("qkv", "The tensor 'qkv' holds 2 layers: qkv#q, qkv#k."),
        ("weight", "It is part of 'a.weight'."),
        ("zzz", "No layer 'zzz'."),
        (0, "not by int"),
    ):
        with pytest.raises(KeyError) as raised:
            report[name]
        assert words in raised.value.args[0]


def test_findings_fail_as_on_the_command_line(made: ModuleType) -> None:
    report = injured(made)
    assert [found.code for found in report.failing()] == ["RA-FO-001"]
    assert [found.layer for found in report.failing("warning")] == [
        f"layers.{place}.weight" for place in range(3)
    ]
    assert report.failing("never") == ()
    with pytest.raises(UsageError) as raised:
        report.failing("RA-NF-002")
    assert raised.value.code == "RA-US-113"


def test_what_is_saved_is_loaded(made: ModuleType, tmp_path: Path) -> None:
    report = injured(made)
    target = tmp_path / "report.json"
    report.save(target)
    assert rmtaudit.Report.load(target) == report
    assert target.read_text() == writer_for("json")([report])
    report.save(target, detail="summary")
    assert rmtaudit.Report.load(str(target)).to_dict() == report.to_dict(detail="summary")
    report.save(tmp_path / "report.md")
    assert (tmp_path / "report.md").read_text() == writer_for("markdown")([report])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]


def test_what_cannot_be_saved_or_loaded_says_why(made: ModuleType, tmp_path: Path) -> None:
    report = made.report()
    with pytest.raises(UsageError, match=r"does not indicate a format.*\.json"):
        report.save(tmp_path / "report.xyz")
    with pytest.raises(OutputError, match="RA-OU-003"):
        report.save(tmp_path / "absent" / "report.json")
    with pytest.raises(UsageError, match="RA-US-304"):
        report.save(tmp_path / "report.json", detail="brief")
    file = tmp_path / "several.json"
    for results, words in (([report, LOST], "holds 2 reports"), ([LOST], "No such file")):
        file.write_text(dumps(results_to_dict(results)), encoding="utf-8")
        with pytest.raises(InputError, match=words) as raised:
            rmtaudit.Report.load(file)
        assert raised.value.code == "RA-RP-006"
        assert raised.value.where == str(file)
    with pytest.raises(InputError, match="RA-RP-005"):
        rmtaudit.Report.load(tmp_path / "none.json")


def test_the_figure_is_shown_and_saved(
    made: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = made.report().plot()
    assert figure._repr_svg_().startswith("<svg ")
    figure.save(tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_text() == figure.svg
    assert len(repr(figure)) < 200
    with pytest.raises(UsageError, match="RA-US-306"):
        figure.save(tmp_path / "plot.pdf")
    with pytest.raises(OutputError, match="RA-OU-004"):
        figure.save(tmp_path / "absent" / "plot.svg")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else name)
    with pytest.raises(UsageError, match=r"pip install 'rmtaudit\[plots\]'"):
        figure.save(tmp_path / "plot.png")
    report = made.report()
    bare = replace(report, layers=tuple(replace(layer, metrics={}) for layer in report.layers))
    with pytest.raises(UsageError, match="RA-US-305"):
        bare.plot()
