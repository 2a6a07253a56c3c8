"""The modules that an answer passes through, and how those of the folder import each other."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

import rmtaudit
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run

ROOT = Path(rmtaudit.__file__).parent
FOLDER = ROOT / "engine" / "logdet"
SHARED = (
    "checkpoints/",
    "cli/output.py",
    "cli/progress.py",
    "cli/source_flags.py",
    "engine/resources/",
    "engine/sources/",
    "entry_points.py",
    "errors.py",
    "matrices/",
    "names.py",
    "positional.py",
    "report/",
    "version.py",
)
"""What every command on a matrix shares: opening a file, the matrix that it becomes, memory and threads,
printable names, and writing a document. The test also bounds the modules with all of these."""
MOST_ENTERED = 14
MOST_ENTERED_IN_ALL = 41
"""40 until `--device` came, whose choice is a module that every command shares."""
MOST_LAYERS = 7
MOST_LINES = 400


def entered(arguments: list[str]) -> set[str]:
    """Return the modules of rmtaudit with a function that is called while a command runs."""
    files: set[str] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_flags & inspect.CO_OPTIMIZED:  # no body of a module or a class
            files.add(code.co_filename)

    sys.setprofile(note)
    try:
        assert run(cli, arguments) == 0
    finally:
        sys.setprofile(None)
    inside = {Path(file).relative_to(ROOT).as_posix() for file in files if file.startswith(f"{ROOT}/")}
    dispatch = ("cli/__init__.py", "cli/commands.py", "cli/errors.py")
    return {file for file in inside if file not in dispatch}


def imports(file: Path, *, of_types: bool) -> set[str]:
    """Return the modules of the folder that a module of it imports, also in functions, or only for types."""
    package = "rmtaudit.engine.logdet"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typed = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    modules: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or (id(node) in typed and not of_types):
            continue
        if node.module == package:
            modules |= {each.name for each in node.names}
        elif node.module and node.module.startswith(f"{package}."):
            modules.add(node.module.removeprefix(f"{package}."))
    return modules


def graph(*, of_types: bool) -> dict[str, set[str]]:
    files = [file for file in FOLDER.glob("*.py") if file.stem != "__init__"]
    return {file.stem: imports(file, of_types=of_types) for file in files}


def layers(modules: dict[str, set[str]], module: str, above: tuple[str, ...] = ()) -> int:
    """Return the length of the longest chain of imports from a module down; fail at a circle."""
    assert module not in above, f"a circle of imports: {' -> '.join((*above, module))}"
    return 1 + max((layers(modules, each, (*above, module)) for each in modules[module]), default=0)


def test_a_walk_to_the_answer_enters_few_modules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    A = np.random.default_rng(0).standard_normal((60, 80))
    np.save(tmp_path / "matrix.npy", A @ A.T)
    call = ["logdet", str(tmp_path / "matrix.npy"), "--threads", "1", "-q", "-o", str(tmp_path / "a.json")]
    assert run(cli, call) == 0  # imports everything that it needs
    walked = entered(call)
    own = {file for file in walked if not file.startswith(SHARED)}
    assert {"cli/logdet.py", "engine/logdet/run.py", "engine/logdet/cholesky.py"} <= own
    assert len(own) <= MOST_ENTERED, sorted(own)
    assert len(walked) <= MOST_ENTERED_IN_ALL, sorted(walked)
    assert not capsys.readouterr().err


def test_the_folder_has_few_layers() -> None:
    at_run_time = graph(of_types=False)
    assert max(layers(at_run_time, module) for module in at_run_time) <= MOST_LAYERS


def test_the_folder_has_no_circles() -> None:
    whole = graph(of_types=True)
    assert "plan" in whole["answer"]  # imports for types count
    for module in whole:
        layers(whole, module)
    with pytest.raises(AssertionError, match="a -> b -> a"):
        layers({"a": {"b"}, "b": {"a"}}, "a")


@pytest.mark.parametrize("folder", ["engine/logdet", "kernels/determinants"])
def test_no_module_is_long(folder: str) -> None:
    lines = {
        file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in (ROOT / folder).glob("*.py")
    }
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}
