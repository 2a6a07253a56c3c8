"""What ``rmtaudit doctor`` looks at, on an installation that is sound and on ones that are not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from rmtaudit.engine.doctor import arithmetic, checkup, packages
from rmtaudit.engine.doctor.checkup import check_installation
from rmtaudit.engine.doctor.packages import Package, installed_version, required_packages


def test_a_sound_installation_has_no_problem(tmp_path: Path) -> None:
    result = check_installation(tmp_path)
    assert result.problems == ()
    names = {check.name for check in result.checks if check.area == "Versions"}
    assert {"rmtaudit", "Python", "torch", "numpy"} <= names


def test_an_extra_that_is_not_installed_is_missing_with_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = installed_version
    monkeypatch.setattr(packages, "installed_version", lambda name: None if name == "zarr" else real(name))
    result = check_installation(tmp_path)
    (check,) = [check for check in result.checks if check.name == "zarr"]
    assert (check.state, check.fix) == ("missing", "pip install 'rmtaudit[zarr]'")
    assert result.problems == ()


@pytest.mark.parametrize(("installed", "state"), [("0.4.9", "problem"), ("0.5", "ok"), (None, "problem")])
def test_a_required_package_that_is_old_or_absent_is_a_problem(
    installed: str | None, state: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = Package(name="safetensors", specifier=">=0.5", extra="", version=installed)
    monkeypatch.setattr(checkup, "required_packages", lambda: (package,))
    (check,) = [check for check in check_installation(tmp_path).checks if check.name == "safetensors"]
    assert check.state == state
    assert check.fix == ("pip install 'safetensors>=0.5'" if state == "problem" else "")


@pytest.mark.parametrize(
    ("version", "specifier", "old"),
    [
        ("2.13.0+cpu", ">=2.4", False),
        ("2.4", ">=2.4.0", False),
        ("2.10", ">=2.9", False),
        ("1.26.4", ">=2.0", True),
        ("3.0", "", False),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, specifier: str, old: bool) -> None:
    assert Package(name="x", specifier=specifier, extra="", version=version).is_old is old


def test_requirements_are_read_from_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [
        "click>=8.2",
        "gguf>=0.19; extra == 'gguf'",
        'dask[distributed]>=2025 ; python_version > "3" and extra == "zoo"',
        "rmtaudit[gguf,zoo]; extra == 'all'",
    ]
    monkeypatch.setattr(packages, "requires", lambda _: texts)
    assert [(each.name, each.specifier, each.extra) for each in required_packages()] == [
        ("click", ">=8.2", ""),
        ("gguf", ">=0.19", "gguf"),
        ("dask", ">=2025", "zoo"),
    ]


def test_every_extra_has_a_row_except_those_that_gather_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    extras = {
        "gguf": ["gguf"],
        "networks": ["transformers", "zarr"],
        "zarr": ["zarr"],
        "zoo": ["dask", "pyarrow"],
    }
    gathered = sorted({name for names in extras.values() for name in names})  # as the built metadata has them
    texts = [
        f"{name}>=1; extra == '{extra}'"
        for extra, names in {"all": gathered, **extras}.items()
        for name in names
    ]
    monkeypatch.setattr(packages, "requires", lambda _: texts)
    rows = [each.name for each in check_installation(tmp_path).checks if each.area == "Optional packages"]
    assert rows == sorted(extras)


def test_wrong_eigenvalues_are_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    right = torch.linalg.eigvalsh

    def wrong(matrix: torch.Tensor) -> torch.Tensor:
        values = right(matrix)
        values[7] += 1e-6 * values[-1]
        return values

    monkeypatch.setattr(torch.linalg, "eigvalsh", wrong)
    (check,) = check_installation(tmp_path).problems
    assert check.name == "eigenvalues by torch"
    assert "1.0e-06" in check.detail


def test_the_known_eigenvalues_are_those_of_the_test_matrix() -> None:
    for accuracy in arithmetic.accuracies():
        assert accuracy.error < {"float64": 1e-13, "float32": 1e-5}[accuracy.dtype]
    assert np.isnan(arithmetic._error(np.array([np.nan, 1.0]), np.array([1.0, 2.0])))


def test_eigenvalues_that_are_no_numbers_are_not_right() -> None:
    assert not arithmetic.Accuracy(route="x", error=float("nan")).is_right


def test_a_broken_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "rmtaudit.yaml").write_text("preset: [\n")
    (check,) = check_installation(tmp_path).problems
    assert check.name == "project configuration"
    assert str(tmp_path / "rmtaudit.yaml") in check.detail


def test_a_plugin_that_cannot_be_loaded_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "site" / "broken-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[rmtaudit.analyzers]\nbad = no_such_module:A\n")
    monkeypatch.syspath_prepend(os.fspath(tmp_path / "site"))
    (check,) = check_installation(tmp_path).problems
    assert check.name == "analyzer bad"
    assert check.detail.startswith("broken 1.0: ")
    assert check.fix.startswith("pip install --upgrade broken")


def test_a_plugin_that_is_left_out_on_purpose_is_no_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "site" / "other-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    groups = ("analyzers", "readers", "sources")
    text = "".join(f"[rmtaudit.{group}]\nmine = no_such_module:A\n" for group in groups)
    (folder / "entry_points.txt").write_text(text)
    monkeypatch.syspath_prepend(os.fspath(tmp_path / "site"))
    monkeypatch.setenv("RMTAUDIT_PLUGINS", "another")
    result = check_installation(tmp_path)
    assert result.problems == ()
    checks = [check for check in result.checks if check.name.endswith(" mine")]
    assert {check.name: check.state for check in checks} == {
        "analyzer mine": "missing", "reader mine": "missing", "source mine": "missing",
    }  # fmt: skip
    assert len(checks) == 3
