from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rmtaudit
from rmtaudit import errors
from rmtaudit.engine.compare.settings import CompareKeywords, CompareSettings
from rmtaudit.engine.density.settings import DensityKeywords, DensitySettings
from rmtaudit.engine.logdet.settings import LogdetKeywords, LogdetSettings
from rmtaudit.engine.probe.settings import ProbeKeywords, ProbeSettings
from rmtaudit.engine.samples.forecast import ForecastKeywords, ForecastSettings
from rmtaudit.engine.samples.ridge import RidgeKeywords, RidgeSettings
from rmtaudit.engine.samples.tails import TailKeywords, TailSettings
from rmtaudit.engine.settings.scan import ScanKeywords, ScanSettings

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "api.md").read_text(encoding="utf-8")
VALUES = [1.0, 1.2, 1.5, 2.0, 3.1, 4.8, 9.0, 20.0, 55.0, 90.0]


def listed(section: str) -> list[str]:
    """Return the names in the table of a section of the page."""
    text = PAGE.partition(f"## `{section}`\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


def test_exported_members() -> None:
    assert rmtaudit.__all__ == sorted(rmtaudit.__all__)
    assert sorted(listed("rmtaudit")) == rmtaudit.__all__
    assert set(rmtaudit.__all__) <= set(dir(rmtaudit))
    for name in rmtaudit.__all__:
        assert getattr(rmtaudit, name) is not None
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", rmtaudit.__version__)


def test_the_tree_of_errors_is_complete() -> None:
    own = {name: each for name, each in vars(errors).items() if isinstance(each, type)}
    defined = {name for name, each in own.items() if each.__module__ == errors.__name__}
    assert set(listed("rmtaudit.errors")) == defined
    drawn = set(re.findall(r"\b(\w+Error)\b", errors.__doc__ or ""))
    assert drawn == defined
    assert all(issubclass(getattr(errors, name), errors.RmtauditError) for name in defined)


def test_an_unknown_member() -> None:
    with pytest.raises(AttributeError, match="no attribute 'scna'"):
        rmtaudit.scna  # noqa: B018


def test_the_import_is_free() -> None:
    code = "import sys, rmtaudit; assert not {'torch', 'numpy', 'click', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("keywords", "settings", "elsewhere"),
    [
        (CompareKeywords, CompareSettings, set()),
        (DensityKeywords, DensitySettings, set()),
        (LogdetKeywords, LogdetSettings, set()),
        (ProbeKeywords, ProbeSettings, {"edit"}),
        (TailKeywords, TailSettings, set()),
        (ForecastKeywords, ForecastSettings, {"population", "signal"}),
        (RidgeKeywords, RidgeSettings, set()),
        (ScanKeywords, ScanSettings, {"preset", "analyzers"}),
    ],
)
def test_keywords_are_the_fields_of_the_settings(keywords: type, settings: type, elsewhere: set[str]) -> None:
    assert set(keywords.__annotations__) | elsewhere == set(settings.__annotations__)
    assert not set(keywords.__annotations__) & elsewhere


def test_a_setting_that_is_given_twice_is_an_error() -> None:
    with pytest.raises(errors.UsageError, match="not clear which one applies") as raised:
        rmtaudit.density(np.array(VALUES), factor=2, settings=DensitySettings(factor=4))
    assert raised.value.code == "RA-US-702"
    with pytest.raises(errors.UsageError) as raised:
        rmtaudit.tails(VALUES, settings=DensitySettings())  # type: ignore[arg-type]
    assert raised.value.code == "RA-US-703"


@pytest.mark.parametrize("function", [rmtaudit.density, rmtaudit.tails, rmtaudit.forecast, rmtaudit.logdet])
def test_an_unknown_setting_is_an_error_with_a_suggestion(function: object) -> None:
    with pytest.raises(errors.UsageError, match="Did you mean 'seed'") as raised:
        function(VALUES, sed=1)  # type: ignore[operator]
    assert raised.value.code == "RA-US-701"


def test_tails_and_forecast_take_numbers_and_files(tmp_path: Path) -> None:
    file = tmp_path / "values.txt"
    file.write_text("\n".join(map(repr, VALUES)))
    numbers, read = (rmtaudit.tails(given, side="upper").to_dict() for given in (VALUES, file))
    assert read["subject"].pop("path") == str(file)
    assert numbers["subject"].pop("path") == ""
    assert numbers == read
    population = [2.0] * len(VALUES)
    numbers, read = (
        rmtaudit.forecast(
            given, matrix="covariance", shape=(40, 10), population=population, bootstrap=0
        ).to_dict()
        for given in (VALUES, file)
    )
    assert read["population"]["status"] == "ok"
    assert numbers["population"] == read["population"]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([[1.0, 2.0]], "RA-SA-006"),
        ([], "RA-SA-007"),
        ([1.0, float("nan")], "RA-SA-008"),
        (["a"], "RA-SA-005"),
        ([1j, 2.0], "RA-SA-005"),
    ],
)
def test_what_is_no_sample_is_refused(values: list[object], code: str) -> None:
    for function in (rmtaudit.tails, rmtaudit.forecast):
        with pytest.raises(errors.InputError) as raised:
            function(values)  # type: ignore[arg-type]
        assert raised.value.code == code
    with pytest.raises(errors.InputError, match="negative") as raised:
        rmtaudit.forecast([1.0, -2.0], matrix="kernel")
    assert raised.value.code == "RA-SA-009"


def test_what_a_training_imports() -> None:
    from rmtaudit import training

    assert training.__all__ == sorted(training.__all__)
    assert sorted(listed("rmtaudit.training")) == training.__all__
    assert set(training.__all__) <= set(dir(training))
    page = (DOCS / "training.md").read_text(encoding="utf-8")
    for name in training.__all__:
        assert re.search(rf"\b{name}\b", page), f"{name} is not on the page"
        if name != "RmtauditCallback":  # needs transformers
            assert getattr(training, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'TrainingMonitr'"):
        training.TrainingMonitr  # noqa: B018
    code = "import sys, rmtaudit.training; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_plugins_import() -> None:
    from rmtaudit import plugins

    assert set(plugins.__all__) == set(plugins._HOME_OF)
    assert set(plugins.__all__) <= set(dir(plugins))
    for name in plugins.__all__:
        assert getattr(plugins, name) is not None
    pages = "".join(
        (DOCS / f"writing-{page}.md").read_text() for page in ("an-analyzer", "a-reader", "a-matrix-source")
    )
    for name in plugins.__all__:
        assert re.search(rf"\b{name}\b", pages), f"{name} is on no page"
    with pytest.raises(AttributeError, match="no attribute 'Anlyzer'"):
        plugins.Anlyzer  # noqa: B018


def test_the_bases_of_plugins_are_light() -> None:
    code = "import sys; from rmtaudit.plugins import Reader, Analyzer; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
