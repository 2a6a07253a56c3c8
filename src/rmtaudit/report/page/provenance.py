"""Where a result is from: what was read, by which version, with which settings."""

from __future__ import annotations

from rmtaudit.report import sentences
from rmtaudit.report.model import Report
from rmtaudit.report.numbers import format_value
from rmtaudit.report.page.parts import Fact, facts


def provenance(report: Report) -> tuple[Fact, ...]:
    """Return what it takes to repeat a scan, and to tell whether the checkpoint is still the same."""
    subject, tool = report.subject, report.tool
    options = [
        f"{analyzer}: " + ", ".join(f"{key} = {format_value(_flat(value))}" for key, value in chosen.items())
        for analyzer, chosen in tool["options"].items()
        if chosen
    ]
    base = subject.get("base")
    return facts(
        [
            ("Path", subject["path"]),
            ("Format", subject["format"]),
            ("Digest", subject["digest"] or "none: not every value was read"),
            ("Bytes", f"{subject['bytes']:,}" if "bytes" in subject else ""),
            ("Base", f"{base['path']} ({base['format']}), {base['merged']} weights merged" if base else ""),
            *(
                (f"File {file['name']}", file["sha256"] or "no digest stated")
                for file in subject.get("streamed", ())
            ),
            ("Run", sentences.settings_line(report)),
            ("Convolutions", tool["conv"]),
            ("Solver", tool["solver"]),
            ("Precision", tool.get("precision", "")),
            ("Included", ", ".join(tool.get("include", ()))),
            ("Excluded", ", ".join(tool.get("exclude", ()))),
            *(("Options", line) for line in options),
            ("Complete", "yes" if report.complete else "no: the scan was stopped"),
            ("Second opinion", _verification(report)),
            ("Schema", f"{report.schema.name} {report.schema.version}"),
            ("Time", _time(report)),
        ]
    )


def _flat(value: object) -> float | int | str | bool | None:
    return value if isinstance(value, float | int | str | bool | None) else str(value)


def _verification(report: Report) -> str:
    checked = report.verification
    return (
        "" if checked is None else f"{len(checked['checks'])} checks by other libraries: {checked['outcome']}"
    )


def _time(report: Report) -> str:
    total, threads = report.timings.get("total"), report.timings.get("threads")
    if total is None:
        return ""
    return f"{total:.1f} s" + (f" on {threads:g} threads" if threads else "")
