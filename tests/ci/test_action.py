"""The action, the hooks and the template for GitLab, run as those systems run them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from gates import sound_model

import rmtaudit

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
GITLAB = yaml.safe_load((ROOT / "templates" / "rmtaudit-gate.gitlab-ci.yml").read_text(encoding="utf-8"))
COMMAND = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m rmtaudit "$@"\n'

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def step(name: str) -> dict[str, Any]:
    (found,) = [each for each in ACTION["runs"]["steps"] if each["id"] == name]
    return dict(found)


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


class Runner:
    """A job of GitHub Actions: its folders, and the environment of its steps."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "workspace"
        self.workspace.mkdir()
        self.temporary = folder / "temp"
        self.summary = folder / "summary.md"
        self.output = folder / "output"
        self.output.touch()

    def run(self, name: str, path: str = "", **inputs: str) -> subprocess.CompletedProcess[str]:
        wanted = step(name)
        values = {key: str(entry.get("default", "")) for key, entry in ACTION["inputs"].items()} | {
            key.replace("_", "-"): value for key, value in inputs.items()
        }
        given = {
            variable: values[expression.removeprefix("${{ inputs.").removesuffix(" }}")]
            for variable, expression in wanted["env"].items()
        }
        script = self.temporary / "script.sh"
        script.parent.mkdir(exist_ok=True)
        script.write_text(wanted["run"])
        environment = {
            "PATH": path + os.environ["PATH"],
            "HOME": str(self.temporary),
            "GITHUB_ACTIONS": "true",
            "CI": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_OUTPUT": str(self.output),
            "RUNNER_TEMP": str(self.temporary),
            "OMP_NUM_THREADS": "1",
            **given,
        }
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
            cwd=self.workspace,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of a sound model, which is judged without torch."""
    folder = tmp_path_factory.mktemp("report")
    sound_model(folder / "sound.safetensors")
    rmtaudit.scan(folder / "sound.safetensors", threads=1).save(folder / "report.json")
    return folder / "report.json"


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    runner = Runner(tmp_path)
    executable(runner.temporary / "rmtaudit" / "bin" / "rmtaudit", COMMAND)
    return runner


def test_inputs_are_no_part_of_the_scripts() -> None:
    for each in ACTION["runs"]["steps"]:
        assert "${{" not in each["run"]
        assert all(value.startswith("${{ inputs.") for value in each["env"].values())
    used = {value for each in ACTION["runs"]["steps"] for value in each["env"].values()}
    assert used == {f"${{{{ inputs.{name} }}}}" for name in ACTION["inputs"]}


def test_the_install_step_installs_the_checkout_of_the_action(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    log = tmp_path / "log"
    stub = (
        "#!/bin/bash\n"
        f'printf "%s\\n" "$*" >> {shlex.quote(str(log))}\n'
        'if [[ "$2" == venv ]]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; fi\n'
    )
    python = executable(tmp_path / "stub" / "python3", stub)
    done = runner.run("install", python=str(python), extras="gguf")
    assert done.returncode == 0, done.stderr
    venv, torch, package = log.read_text().splitlines()
    assert venv == f"-m venv {runner.temporary / 'rmtaudit'}"
    assert torch.endswith("--index-url https://download.pytorch.org/whl/cpu torch")
    assert package.endswith(f" {ROOT}[gguf]")
    log.unlink()
    runner.run("install", python=str(python), extras="", torch_index="")
    assert log.read_text().splitlines()[1].endswith(f" {ROOT}")


def test_the_gate_step_passes_a_sound_model(runner: Runner, report: Path) -> None:
    shutil.copy(report, runner.workspace / "a report.json")
    done = runner.run(
        "gate",
        checkpoint="a report.json\n",
        policy="lenient",
        also="junit=gate.xml\nsarif=gate.sarif\n",
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in runner.workspace.iterdir()} == {
        "a report.json", "rmtaudit-gate.json", "gate.xml", "gate.sarif",
    }  # fmt: skip
    outputs = runner.output.read_text()
    assert "\npassed\n" in outputs
    assert "\nrmtaudit-gate.json\n" in outputs
    assert "exit-code=0\n" in outputs
    assert "✅ passed" in runner.summary.read_text()


def test_the_gate_step_fails_and_says_why(runner: Runner) -> None:
    shutil.copy(DATA / "lfs_pointer.safetensors", runner.workspace / "model.safetensors")
    done = runner.run("gate", checkpoint="model.safetensors", summary="false")
    assert done.returncode == 2
    assert "::error file=model.safetensors,title=Cannot be read (RA-IN-011)::" in done.stderr
    assert "\nunreadable\n" in runner.output.read_text()
    assert not runner.summary.exists()
    allowed = runner.run(
        "gate", checkpoint="model.safetensors", internal_be_careful_allow_failure="true", output="again.json"
    )
    assert allowed.returncode == 0
    assert "::warning title=rmtaudit gate::" in allowed.stdout


def test_no_input_runs_anything(runner: Runner) -> None:
    hostile = "$(touch pwned) `touch pwned`\"; touch pwned; '--help"
    done = runner.run("gate", checkpoint=hostile, policy=hostile, baseline=hostile, claim=hostile)
    assert done.returncode == 2
    assert not list(runner.workspace.rglob("pwned"))


def test_the_template_for_gitlab_runs_the_gate(tmp_path: Path, report: Path) -> None:
    job = GITLAB[".rmtaudit-gate"]
    executable(tmp_path / "bin" / "rmtaudit", COMMAND)
    shutil.copy(report, tmp_path)
    variables = {key: value for key, value in job["variables"].items() if key.startswith("GATE_")}
    variables |= {"GATE_CHECKPOINT": "report.json", "GATE_POLICY": "lenient"}
    done = subprocess.run(
        ["sh", "-ec", "\n".join(job["script"])],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "CI": "true", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for file in (job["artifacts"]["reports"]["junit"], job["artifacts"]["reports"]["metrics"]):
        assert (tmp_path / file).stat().st_size
    assert job["artifacts"]["when"] == "always"


def test_hooks_look_at_checkpoints_alone() -> None:
    assert [(hook["id"], hook["language"]) for hook in HOOKS] == [
        ("rmtaudit-gate", "python"), ("rmtaudit-gate-system", "system"),
    ]  # fmt: skip
    assert all(hook["entry"] == "rmtaudit gate" for hook in HOOKS)


@pytest.mark.skipif(shutil.which("pre-commit") is None, reason="needs pre-commit")
def test_pre_commit_runs_the_hook(tmp_path: Path) -> None:
    executable(tmp_path / "bin" / "rmtaudit", COMMAND)
    environment = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PRE_COMMIT_HOME": str(tmp_path / "cache"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org",
    }  # fmt: skip

    def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)

    hooks, models = tmp_path / "hooks", tmp_path / "models"
    for folder in (hooks, models):
        folder.mkdir()
        run("git", "init", "-q", cwd=folder)
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    run("git", "add", ".", cwd=hooks)
    run("git", "commit", "-qm", "Hooks", cwd=hooks)
    revision = run("git", "rev-parse", "HEAD", cwd=hooks).stdout.strip()
    sound_model(models / "sound.safetensors")
    (models / "notes.txt").write_text("no model")
    hook = {"id": "rmtaudit-gate-system", "args": ["--policy", "lenient", "--quiet"]}
    configuration = {"repos": [{"repo": str(hooks), "rev": revision, "hooks": [hook]}]}
    (models / ".pre-commit-config.yaml").write_text(yaml.safe_dump(configuration))
    run("git", "add", ".", cwd=models)
    sound = run("pre-commit", "run", "--all-files", cwd=models)
    assert sound.returncode == 0, sound.stdout + sound.stderr
    shutil.copy(DATA / "lfs_pointer.safetensors", models)
    run("git", "add", ".", cwd=models)
    pointer = run("pre-commit", "run", "--all-files", cwd=models)
    assert pointer.returncode == 1
    assert "a Git LFS pointer" in pointer.stdout
    assert "git lfs pull" in pointer.stdout
