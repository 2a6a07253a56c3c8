"""The pages say what the program does."""

from __future__ import annotations

import importlib.util
import math
import re
from pathlib import Path
from typing import Any

import pytest

import rmtaudit
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.engine.settings.keys import CHECKS
from rmtaudit.engine.settings.presets import preset_names
from rmtaudit.kernels.signal import SignalWord
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.plugins import Contents
from rmtaudit.report.schema import report_schema
from rmtaudit.report.verdict import Integrity

DOCS = Path(__file__).parents[2] / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page(name), re.DOTALL)


def test_the_command_line_page_is_current() -> None:
    spec = importlib.util.spec_from_file_location("generate_cli", DOCS / "generate_cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert page("cli.md") == module.page(), "run: python docs/generate_cli.py"


def test_every_field_of_the_report_is_described() -> None:
    schema = report_schema()
    fields = {key for part in schema["$defs"].values() for key in part.get("properties", {})} - {"reports"}
    missing = [field for field in fields if f"`{field}`" not in page("report-format.md")]
    assert not missing


def test_every_reason_and_verdict_of_the_report_is_described() -> None:
    (section,) = re.findall(
        r"## Verdicts and reasons as values\n(.*?)\n## ", page("report-format.md"), re.DOTALL
    )
    names = set(re.findall(r"`([^`]+)`", section))
    assert set(SkipReason) | set(SignalWord) | set(Integrity) <= names


def test_every_setting_is_described() -> None:
    text = page("configuration.md")
    assert not [key for key in (*CHECKS, "options") if f"| `{key}` |" not in text]
    assert not [name for name in preset_names() if f"- `{name}`:" not in text]


def test_the_configuration_that_is_shown_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = blocks("configuration.md", "yaml")
    (tmp_path / "rmtaudit.yaml").write_text(example)
    monkeypatch.chdir(tmp_path)
    assert run(cli, ["config", "show"]) == 0
    assert "options.powerlaw.bootstrap: 200" in capsys.readouterr().out


def test_every_exit_code_is_described() -> None:
    from rmtaudit.cli import errors

    codes = (
        errors.FINE, errors.GATE_FAILED, errors.COULD_NOT_JUDGE,
        errors.INCONCLUSIVE, errors.INTERRUPTED, errors.CLOSED_PIPE,
    )  # fmt: skip
    assert re.findall(r"^\| (\d+) \|", page("exit-codes.md"), re.MULTILINE) == [str(code) for code in codes]


def test_every_flag_of_the_commands_exists() -> None:
    known = set(re.findall(r"--[a-z-]+", page("cli.md")))
    for name in (
        "commands/scan.md",
        "commands/report.md",
        "commands/tails.md",
        "commands/logdet.md",
        "matrices.md",
        "configuration.md",
        "writing-an-analyzer.md",
    ):
        assert set(re.findall(r"--[a-z][a-z-]+", page(name))) <= known, name


def test_the_example_analyzer_keeps_the_contract() -> None:
    space: dict[str, Any] = {"__name__": "example"}
    for block in blocks("writing-an-analyzer.md", "python"):
        exec(compile(block, "writing-an-analyzer.md", "exec", dont_inherit=True), space)
    contract = space["TestTopShare"]()
    tests = [name for name in dir(contract) if name.startswith("test_")]
    assert len(tests) >= 7
    for name in tests:
        getattr(contract, name)()


def test_every_code_of_a_matrix_and_its_determinant_is_described() -> None:
    sources = (DOCS.parent / "src").rglob("*.py")
    used = {
        code
        for path in sources
        for code in re.findall(r"\"(RA-(?:MS|LD)-\d{3})\"", path.read_text(encoding="utf-8"))
    }
    pages = page("errors.md") + page("commands/logdet.md")
    assert sorted(used) == sorted(re.findall(r"^\| (RA-(?:MS|LD)-\d{3}) \|", pages, re.MULTILINE))


def test_every_code_of_an_error_is_described() -> None:
    pattern = re.compile(r"RA-(?:US|CF|PO|OU|RP|NA|IE)-\d{3}")
    sources = (DOCS.parent / "src").rglob("*.py")
    used = {code for path in sources for code in pattern.findall(path.read_text(encoding="utf-8"))}
    described = re.findall(r"^\| (RA-\S+) \|", page("exit-codes.md"), re.MULTILINE)
    assert sorted(used) == sorted(described)


def test_every_code_of_a_zoo_is_described() -> None:
    pattern = re.compile(r"RA-(?:ZO|ST)-\d{3}")
    sources = (DOCS.parent / "src").rglob("*.py")
    used = {code for path in sources for code in pattern.findall(path.read_text(encoding="utf-8"))}
    described = re.findall(r"^\| (RA-(?:ZO|ST)-\d{3}) \|", page("errors.md"), re.MULTILINE)
    assert sorted(used) == sorted(described)


def test_every_code_of_a_ranking_and_a_card_is_described() -> None:
    pattern = re.compile(r"RA-(?:RK|CA)-\d{3}")
    sources = (DOCS.parent / "src").rglob("*.py")
    used = {code for path in sources for code in pattern.findall(path.read_text(encoding="utf-8"))}
    described = re.findall(r"^\| (RA-(?:RK|CA)-\d{3}) \|", page("errors.md"), re.MULTILINE)
    assert sorted(used) == sorted(described)


def test_the_example_source_has_a_margin_that_holds() -> None:
    space: dict[str, Any] = {"__name__": "example"}
    exec(compile(blocks("writing-a-matrix-source.md", "python")[0], "page", "exec", dont_inherit=True), space)
    source = space["ToeplitzOpener"]().open("toeplitz:200")
    answer = rmtaudit.logdet(source, threads=1)
    assert answer.margin is not None
    assert answer.margin.low <= 199 * math.log(-math.expm1(-2 / 9)) <= answer.margin.high
    assert answer.margin.half_width < 1e-6


def test_the_example_reader_can_be_made() -> None:
    space: dict[str, Any] = {"__name__": "example"}
    exec(compile(blocks("writing-a-reader.md", "python")[0], "page", "exec", dont_inherit=True), space)
    assert space["MyReader"]().recognises(Contents(head=b"MINE and more"))


COMMAND_PAGES = ("claims.md", "extract-lora.md", "lineage.md", "whatif.md")


@pytest.mark.parametrize(
    "name",
    [
        *(f"commands/{path.name}" for path in sorted((DOCS / "commands").glob("*.md"))),
        *(f"analyzers/{path.name}" for path in sorted((DOCS / "analyzers").glob("*.md"))),
        *COMMAND_PAGES,
    ],
)
def test_a_page_begins_with_a_box_in_plain_words(name: str) -> None:
    title, _, rest = page(name).partition("\n")
    assert title.startswith("# ")
    box = rest.partition("\n\n    **")[2].partition("\n\n```")[0]
    assert rest.lstrip().startswith('!!! abstract "In plain words"')
    for part in ("The question.", "How to read the answer.", "When not to trust it."):
        assert f"{part}** " in box
