"""Every code block of the documentation runs, or its page says why it does not.

The commands and the Python of a page run in order, in a folder with the files that the pages speak of
(``example_files.py``). YAML and TOML go to what reads them. ``code_blocks.py`` has the rules.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from code_blocks import SHELLS, Block, Session, blocks_of, exit_codes, script_of
from example_files import make_files

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.engine.gate.load import load_policy
from rmtaudit.engine.settings.manifest import read_manifest

ROOT = Path(__file__).parents[2]
ELSEWHERE = {
    "docs/notebook.md": "written by nbconvert; test_notebook.py runs the notebook",
    "docs/cli.md": "written by generate_cli.py from the help; test_pages.py compares",
}
PAGES = {
    name: tuple(blocks_of(name, path.read_text(encoding="utf-8")))
    for path in (
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
    )
    if (name := path.relative_to(ROOT).as_posix()) not in ELSEWHERE
}
BLOCKS = [block for blocks in PAGES.values() for block in blocks]
SHOWN = ("text", "markdown")  # what a command prints or writes
DATA = ("yaml", "toml", "json")
NOT_RUN = 10
"""How many blocks do not run, so that none is added without notice."""

LIGHTER = {
    "rmtaudit zoo": "rmtaudit zoo --threads 1",
    "--bootstrap 200": "--bootstrap 100",
    "tails.bootstrap=200": "tails.bootstrap=100",
    "tails model.safetensors": "tails model.safetensors --include '*.fc.*'",
    "--samples 8": "--samples 2",
    "--factor 8": "--factor 2",
    "--sample 1024": "--sample 100",
    "--sample 4096": "--sample 200",
    "--sample 500": "--sample 100",
}
"""What is smaller in the default suite; ``pytest -m slow`` runs the blocks as they are written."""

PYTHON_BEFORE = {
    "docs/concepts/spectrum.md": "import torch; weight = torch.randn(8, 4, 3)",
    "docs/commands/logdet.md": "import numpy, torch; matrix = numpy.eye(300); points = torch.rand(300, 2)",
    "docs/report-format.md": "import rmtaudit; report = rmtaudit.scan('model.safetensors')",
    "docs/training.md": """
import shutil
import torch
from types import SimpleNamespace
layers = [torch.nn.Linear(40, 36), torch.nn.Tanh(), torch.nn.Linear(36, 33), torch.nn.Linear(33, 32)]
model = torch.nn.ModuleDict({"layers": torch.nn.Sequential(*layers)})
model.forward = lambda x: model["layers"](x)
torch.manual_seed(0)
inputs, labels = torch.randn(8, 40), torch.randn(8, 32)
loader = [(inputs, labels)] * 12
criterion = torch.nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
# The page goes on with the log of a longer training.
trainer = SimpleNamespace(add_callback=lambda _: shutil.copy("longer.jsonl", "training.jsonl"), log=print)
""",
}
"""Python that runs before the first block of a page: what the reader has, such as a model."""

SHELL_BEFORE = {
    "docs/commands/card.md": "rmtaudit scan model.safetensors -q -o report.json",
    "docs/commands/rank.md": "rm -r zoo && rmtaudit zoo models/ --threads 1 --out zoo/ && mkdir reports"
    " && rmtaudit scan model.safetensors -q -o reports/a.json && cp reports/a.json resnet20.json",
    "docs/commands/scan.md": "rm -r model && cp -r base model",
    "docs/extract-lora.md": "rm -r adapter",
    "docs/exit-codes.md": "rmtaudit scan model.safetensors -q -o report.json",
    "docs/html.md": "rmtaudit scan model.safetensors -q -o report.json"
    " && rmtaudit zoo models/ --threads 1 --out audit/",
    "docs/training.md": "mv training.jsonl longer.jsonl",
    "docs/report-format.md": "rmtaudit scan model.safetensors -q -o report.json",
}
"""Commands that run before it: what the reader has made on another page."""


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("gguf", "transformers", "zarr"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("files")
    make_files(folder, ROOT / "examples")
    return folder


@pytest.fixture
def session(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(
        files, tmp_path / "work", symlinks=True, copy_function=os.link
    )  # nothing is written in place
    (tmp_path / "private").mkdir()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = frozenset(project["optional-dependencies"])
    return Session(tmp_path / "work", tmp_path / "private", extras)


def carried_out(session: Session, blocks: tuple[Block, ...], *, slow: bool) -> None:
    page = blocks[0].page
    for block in blocks:
        if block.file:
            (session.folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (session.folder / block.file).write_text(block.text, encoding="utf-8")
    session.python(PYTHON_BEFORE.get(page, ""), "before the page")
    prepared = session.shell(SHELL_BEFORE.get(page, "git init --quiet"))
    assert not [code for _, code, _ in prepared if code], prepared
    for block in blocks:
        if block.note == "not run" or (block.note == "slow") > slow:
            continue
        if block.language == "python":
            session.python(block.text, block.place)
        elif block.language in SHELLS:
            expected = exit_codes(block)
            script = script_of(block) if slow else lighter(script_of(block))
            served = [each for each in session.shell(script) if each[0].startswith("rmtaudit ")]
            assert len(served) == len(expected), (
                f"{block.place}: {len(served)} commands ran, not {len(expected)}"
            )
            wrong = [
                f"{block.place}: {line}: exit code {code}\n{messages}"
                for (line, code, messages), codes in zip(served, expected, strict=True)
                if code not in codes
            ]
            assert not wrong, "\n".join(wrong)
            assert not [each for each in session.codes if each[1] and each not in served], session.codes


def lighter(script: str) -> str:
    for written, smaller in LIGHTER.items():
        script = script.replace(written, smaller)
    return script


def pages(*, slow: bool) -> list[str]:
    """Return the pages with blocks to run; with ``slow``, those where more runs in the slow suite."""
    result = []
    for name, blocks in PAGES.items():
        runs = [
            block for block in blocks if block.language in (*SHELLS, "python") and block.note != "not run"
        ]
        more = [block for block in runs if block.note == "slow" or lighter(block.text) != block.text]
        if more or (runs and not slow):
            result.append(name)
    return result


@pytest.mark.parametrize("name", pages(slow=False))
def test_the_blocks_of_a_page_run(session: Session, name: str) -> None:
    carried_out(session, PAGES[name], slow=False)


def documents(block: Block) -> list[Any]:
    return list(yaml.safe_load_all(block.text)) if block.language == "yaml" else [tomllib.loads(block.text)]


def steps_of(document: Any) -> list[dict[str, Any]]:
    """Return the steps of a workflow of GitHub, or of a part of one."""
    if isinstance(document, list):
        return document
    return [step for job in document.get("jobs", {}).values() for step in job["steps"]]


def check_action(step: dict[str, Any]) -> None:
    inputs = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["inputs"]
    given = set(step["with"])
    assert given <= set(inputs)
    assert {name for name, entry in inputs.items() if entry.get("required")} <= given


def check_gitlab(document: dict[str, Any]) -> None:
    (included,) = document["include"]
    template = yaml.safe_load((ROOT / included["local"]).read_text(encoding="utf-8"))
    extended = template[document["gate"]["extends"]]
    assert set(document["gate"]["variables"]) <= set(extended["variables"])


def check_hooks(document: dict[str, Any]) -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert {hook["id"] for hook in document["repos"][0]["hooks"]} <= {hook["id"] for hook in hooks}


def check_entry_points(document: dict[str, Any]) -> None:
    assert {"name", "version"} <= set(document["project"])
    groups = document["project"]["entry-points"]
    assert set(groups) <= {"rmtaudit.analyzers", "rmtaudit.readers", "rmtaudit.sources"}


@pytest.mark.parametrize(
    "block", [each for each in BLOCKS if each.language in DATA], ids=lambda each: each.place
)
def test_data_is_what_reads_it_takes(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / f"rmtaudit.{block.language}"
    file.write_text(block.text, encoding="utf-8")
    for document in documents(block):
        if steps := steps_of(document) if isinstance(document, list) or "jobs" in document else []:
            for step in steps:
                assert "uses" in step or "run" in step
                if "/rmtaudit@" in step.get("uses", ""):
                    check_action(step)
        elif "include" in document:
            check_gitlab(document)
        elif "repos" in document:
            check_hooks(document)
        elif "project" in document:
            check_entry_points(document)
        elif "models" in document:
            assert read_manifest(file)
        elif "rules" in document:
            assert load_policy(file).rules
        elif "apiVersion" in document:
            assert document["kind"] in ("DaskCluster", "Job")
            assert document["spec"]
        else:
            assert run(cli, ["config", "show"]) == 0


def test_every_block_has_a_language_and_every_exception_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    known = (*SHELLS, *SHOWN, *DATA, "python")
    assert not [block.place for block in BLOCKS if block.language not in known and block.note != "not run"]
    left = [f"{block.place}: {block.reason}" for block in BLOCKS if block.note == "not run"]
    with capsys.disabled():
        counts = Counter(block.language for block in BLOCKS)
        print(f"\n{len(BLOCKS)} blocks {dict(counts)}; {len(left)} are not run:", *left, sep="\n  ")
    assert len(left) == NOT_RUN, "a block was added that does not run: say so here as well"


@pytest.mark.slow
@pytest.mark.parametrize("name", pages(slow=True))
def test_the_slow_blocks_of_a_page_run(session: Session, name: str) -> None:
    carried_out(session, PAGES[name], slow=True)
