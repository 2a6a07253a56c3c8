"""Where settings come from, which place is stronger, and what is refused with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.analyzers.registry import build_all, metric_catalogue
from rmtaudit.engine.settings.config_files import find_project_file, parse_toml, parse_yaml, read_config
from rmtaudit.engine.settings.presets import (
    ResolvedSettings,
    assignments,
    flag,
    preset_names,
    preset_settings,
    resolve_settings,
    select_metrics,
)
from rmtaudit.errors import UsageError

Resolve = Callable[..., ResolvedSettings]


@pytest.fixture
def resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Return ``resolve_settings`` in an empty project, with an empty user folder and no variables."""
    user, project = tmp_path / "user", tmp_path / "project"
    user.mkdir()
    project.mkdir()
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *_, **__: str(user))

    def call(
        *flags: tuple[str, str], user_file: str = "", project_file: str = "", **environ: str
    ) -> ResolvedSettings:
        (user / "config.yaml").write_text(user_file)
        (project / "rmtaudit.yaml").write_text(project_file)
        return resolve_settings(
            [flag(key, text, f"--{key}") for key, text in flags], folder=project, environ=environ
        )

    return call


def code(raised: pytest.ExceptionInfo[UsageError]) -> tuple[str, str]:
    return raised.value.code, raised.value.where.rpartition("/")[2]


def test_the_default_preset(resolve: Resolve) -> None:
    resolved = resolve()
    assert resolved.settings.analyzers == (
        "scale",
        "powerlaw",
        "noise",
        "null_alpha",
        "forensics",
        "predicted",
    )
    assert resolved.settings.columns[0] == "alpha"
    assert resolved.origins["analyzers"] == "preset default"
    assert resolved.origins["threads"] == "built-in"


@pytest.mark.parametrize("name", preset_names())
def test_the_metrics_that_a_preset_names_are_those_of_its_analyzers(name: str) -> None:
    resolved = preset_settings(name)
    settings = resolved.settings
    metrics = metric_catalogue(build_all(settings.analyzers, settings.options))
    assert set(settings.columns) <= set(metrics)
    assert settings.sort in metrics
    assert select_metrics(resolved, metrics) == settings
    assert settings.preset == name


def test_each_place_is_stronger_than_the_one_before(resolve: Resolve) -> None:
    user, project = (
        "seed: 1\nconv: slices\nsort: xmin\nthreads: 1\n",
        "seed: 2\nconv: flattened\nsort: sigma\n",
    )
    settings = resolve(
        ("seed", "4"), user_file=user, project_file=project, RMTAUDIT_SEED="3", RMTAUDIT_CONV="slices-pooled"
    )
    assert settings.settings.seed == 4
    assert settings.settings.conv == "slices-pooled"
    assert settings.settings.sort == "sigma"
    assert settings.settings.threads == 1
    origins = {key: settings.origins[key].rpartition("/")[2] for key in ("seed", "conv", "sort", "threads")}
    assert origins == {
        "seed": "--seed",
        "conv": "RMTAUDIT_CONV",
        "sort": "rmtaudit.yaml:3",
        "threads": "config.yaml:4",
    }


def test_the_preset_is_a_setting_too(resolve: Resolve) -> None:
    assert resolve(project_file="preset: weightwatcher").settings.analyzers == ("weightwatcher",)
    resolved = resolve(("preset", "fast"), project_file="preset: weightwatcher")
    assert resolved.settings.preset == "fast"
    assert resolved.settings.options == {"powerlaw": {"stability": False}}
    assert resolved.origins["preset"] == "--preset"
    with pytest.raises(UsageError, match=r"Unknown preset 'fats'\. Did you mean 'fast'") as raised:
        resolve(project_file="preset: fats")
    assert code(raised) == ("RA-CF-008", "rmtaudit.yaml:1")


def test_options_of_analyzers(resolve: Resolve) -> None:
    resolved = resolve(
        ("powerlaw.bootstrap", "200"),
        project_file="options:\n  powerlaw: {stability: false}\n  other: {x: 1}\n",
        RMTAUDIT_OPTIONS="powerlaw.min_tail=9,powerlaw.bootstrap=5",
    )
    assert resolved.settings.options == {"powerlaw": {"stability": False, "min_tail": 9, "bootstrap": 200}}
    assert resolved.origins["options.powerlaw.bootstrap"] == "--powerlaw.bootstrap"
    assert resolved.origins["options.powerlaw.min_tail"] == "RMTAUDIT_OPTIONS"
    assert not [key for key in resolved.origins if "other" in key]
    with pytest.raises(UsageError, match="has no effect: the scan does not run 'weightwatcher'") as raised:
        resolve(("weightwatcher.mp_fit", "true"))
    assert code(raised) == ("RA-CF-011", "--weightwatcher.mp_fit")


@pytest.mark.parametrize(
    ("text", "expected", "line"),
    [
        ("seed: 1\nseed: 2\n", "RA-CF-004", 2),
        ("options:\n  powerlaw: {a: 1, a: 2}\n", "RA-CF-004", 2),
        ("analyzers: &x [scale]\ncolumns: *x\n", "RA-CF-003", 2),
        ("seed: !!python/object/apply:os.system ['true']\n", "RA-CF-003", 1),
        ("\n\nseed: !own 1\n", "RA-CF-003", 3),
        (f"seed: {'[' * 40}\n", "RA-CF-003", 1),
        ("seed: 1\n\tconv: slices\n", "RA-CF-002", 2),
        ("seed: 1\n---\nseed: 2\n", "RA-CF-002", 2),
        ("seed: 'open\n", "RA-CF-002", 2),
        ("threads: 1\nseed: .nan\n", "RA-CF-007", 2),
        ("seed: -.inf\n", "RA-CF-007", 1),
        ("seed: 1e999\n", "RA-CF-007", 1),
        ("analysers: [scale]\n", "RA-CF-005", 1),
        ("seed: 1.5\n", "RA-CF-006", 1),
        ("seed: -1\n", "RA-CF-006", 1),
        ("seed: yes\n", "RA-CF-006", 1),
        ("seed: true\n", "RA-CF-006", 1),
        ("threads: 0\n", "RA-CF-006", 1),
        ("conv: pooled\n", "RA-CF-006", 1),
        ("solver: [svd]\n", "RA-CF-006", 1),
        ("memory: lots\n", "RA-CF-006", 1),
        ("memory: 0\n", "RA-CF-006", 1),
        ("memory: 200%\n", "RA-CF-006", 1),
        ("analyzers: scale\n", "RA-CF-006", 1),
        ("analyzers: []\n", "RA-CF-006", 1),
        ("analyzers: [scale, scale]\n", "RA-CF-006", 1),
        ("analyzers: [[scale]]\n", "RA-CF-006", 1),
        ("- seed\n", "RA-CF-006", 1),
        ("options: {powerlaw: 3}\n", "RA-CF-006", 1),
        ("options: {powerlaw: {bootstrap: {n: 3}}}\n", "RA-CF-006", 1),
        ("1: 2\n", "RA-CF-006", 1),
    ],
    ids=range(31),
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(
    resolve: Resolve, text: str, expected: str, line: int
) -> None:
    with pytest.raises(UsageError) as raised:
        resolve(project_file=text)
    assert code(raised) == (expected, f"rmtaudit.yaml:{line}")


def test_a_null_byte_and_bad_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rmtaudit.yaml"
    for data, expected in (
        (b"seed: \x00", "RA-CF-002"),
        (b"seed: \xff", "RA-CF-001"),
        (b" " * 2_000_000, "RA-CF-001"),
    ):
        path.write_bytes(data)
        with pytest.raises(UsageError) as raised:
            read_config(path)
        assert raised.value.code == expected


def test_did_you_mean(resolve: Resolve) -> None:
    with pytest.raises(UsageError, match=r"Unknown key 'analysers'\. Did you mean 'analyzers'"):
        resolve(project_file="analysers: [scale]")
    with pytest.raises(UsageError, match="Did you mean 'RMTAUDIT_SEED'") as raised:
        resolve(RMTAUDIT_SEAD="1")
    assert raised.value.code == "RA-CF-010"


def test_variables_that_are_no_settings_are_left_alone(resolve: Resolve) -> None:
    settings = resolve(RMTAUDIT_DEBUG="1", RMTAUDIT_PLUGINS="", RMTAUDIT_SEED="", OTHER="x").settings
    assert settings.seed == 0


def test_texts_are_read_as_in_yaml(resolve: Resolve) -> None:
    settings = resolve(("memory", "4GB"), ("threads", "null"), ("columns", " alpha, xmin ,")).settings
    assert settings.memory == 4 * 10**9
    assert settings.threads is None
    assert settings.columns == ("alpha", "xmin")
    for text in ("0x10", "1:30", "yes", "1_000"):
        with pytest.raises(UsageError, match="seed must be a whole number"):
            resolve(("seed", text))
    with pytest.raises(UsageError, match="The setting is not of the form KEY=VALUE"):
        assignments("seed", "--set")
    assert assignments("seed=3", "--set")[0].value == 3
    assert assignments("scale.x=a=b", "--set")[0].value == "a=b"


def test_the_nearest_project_file_counts(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_project_file(inner) != tmp_path / "rmtaudit.yaml"
    (tmp_path / "rmtaudit.yaml").write_text("seed: 1")
    assert find_project_file(inner) == tmp_path / "rmtaudit.yaml"
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert find_project_file(inner) == tmp_path / "rmtaudit.yaml"
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.rmtaudit]\nseed = 2\n")
    assert find_project_file(inner) == tmp_path / "a" / "pyproject.toml"
    (inner / ".rmtaudit.yaml").write_text("")
    assert find_project_file(inner) == inner / ".rmtaudit.yaml"
    (inner / "rmtaudit.yaml").write_text("")
    with pytest.raises(
        UsageError, match=r"The folder has two project files: rmtaudit\.yaml and \.rmtaudit\.yaml"
    ):
        find_project_file(inner)


def test_toml() -> None:
    text = (
        "[tool.rmtaudit]\nseed = 3\nanalyzers = ['scale']\n[tool.rmtaudit.options.powerlaw]\nbootstrap = 5\n"
    )
    entries = {entry.key: entry.value for entry in parse_toml(text, "pyproject.toml")}
    assert entries == {("seed",): 3, ("analyzers",): ["scale"], ("options", "powerlaw", "bootstrap"): 5}
    assert parse_toml("[tool.other]\nx = [", "pyproject.toml") == []
    for broken, expected in (
        ("seed = nan", "RA-CF-007"),
        ("seed = ", "RA-CF-002"),
        ("sead = 1", "RA-CF-005"),
        ("seed = 1\nseed = 2", "RA-CF-002"),
    ):
        with pytest.raises(UsageError) as raised:
            parse_toml(f"[tool.rmtaudit]\n{broken}\n", "pyproject.toml")
        assert raised.value.code == expected


def test_arguments_of_the_python_interface() -> None:
    resolved = preset_settings(
        "fast", analyzers=["powerlaw"], seed=5, conv=None, options={"powerlaw": {"bootstrap": 9}}
    )
    assert resolved.settings.analyzers == ("powerlaw",)
    assert resolved.settings.seed == 5
    assert resolved.settings.conv == "flattened"
    assert resolved.settings.options == {"powerlaw": {"stability": False, "bootstrap": 9}}
    with pytest.raises(UsageError, match=r"Unknown key 'sede'\. Did you mean 'seed'"):
        preset_settings(sede=1)


def test_a_metric_that_no_analyzer_yields(resolve: Resolve) -> None:
    names = ("stable_rank", "entropy")
    settings = select_metrics(resolve(("analyzers", "scale")), names)
    assert settings.sort == "stable_rank"
    assert settings.columns == ("stable_rank",)
    for key in ("sort", "columns"):
        with pytest.raises(
            UsageError, match=r"yields the metric 'entropi'\. Did you mean 'entropy'"
        ) as raised:
            select_metrics(resolve((key, "entropi")), names)
        assert code(raised) == ("RA-CF-013", f"--{key}")


@given(st.text(alphabet="seda:[]{}&*!-#'\"\\ \n\t01.,|>%@`~?nul", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        places = [entry.where for entry in parse_yaml(text, "file.yaml")]
    except UsageError as error:
        places = [error.where]
    assert all(place.startswith("file.yaml") for place in places)
