"""The registry over entry points, on distributions made up for the test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rmtaudit.analyzers.registry import available, build, build_all, installed, load, metric_catalogue
from rmtaudit.errors import UsageError

PLUGIN = """
from dataclasses import dataclass
from typing import Literal
from rmtaudit.analyzers.base import Analyzer, Metric
from rmtaudit.finding_kind import FindingKind

@dataclass(frozen=True)
class Options:
    count: int = 3
    share: float = 0.5
    on: bool = False
    label: str = "x"
    mode: Literal["a", "b"] = "a"
    limit: int | None | Literal["force"] = None

    def __post_init__(self):
        if self.count > 100:
            raise ValueError("count is above 100")

class Mine(Analyzer):
    name = "mine"
    metrics = (Metric(name="mine", description="A metric.", reference="None."),)
    Options = Options

    def analyze(self, given):
        return {"mine": 1.0}

class Rival(Mine):
    name = "rival"

class Unnamed(Mine):
    name = "someone else"

class Twice(Mine):
    name = "twice"
    metrics = Mine.metrics * 2

class Both(Mine):
    name = "both"
    stands_in = True

WORDS = {"title": "t", "fact": "info", "meaning": "M.", "test": "T.", "limits": "L.", "action": "A."}

class Prefixed(Mine):
    name = "prefixed"
    findings = (FindingKind(code="RA-XX-001", **WORDS),)

class Uncoded(Mine):
    name = "uncoded"
    findings = (FindingKind(code="x", **WORDS),)

class Unkind(Mine):
    name = "unkind"
    findings = ("TS-001",)

class Bare(Analyzer):
    pass

broken = 3
"""

Ship = Callable[..., None]


@pytest.fixture
def ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ship]:
    """Return a function that installs a distribution with entry points ``name="module:attribute"``."""
    monkeypatch.delenv("RMTAUDIT_PLUGINS", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "shipped_analyzers.py").write_text(PLUGIN)
    (tmp_path / "raising_analyzers.py").write_text("raise RuntimeError('\\x1b[31mno licence')")

    def install(distribution: str = "plugin", **entries: str) -> None:
        folder = tmp_path / f"{distribution}-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        lines = [f"{name.replace('_', '-')} = {value}" for name, value in entries.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[rmtaudit.analyzers]", *lines]) + "\n")

    yield install
    for module in ("shipped_analyzers", "raising_analyzers"):
        sys.modules.pop(module, None)


def problems() -> dict[str, str]:
    return {row.name: row.problem for row in installed() if row.distribution != "rmtaudit"}


def test_the_built_in_ones_are_found_and_sound() -> None:
    own = [row for row in installed() if row.distribution == "rmtaudit"]
    assert [row.name for row in own] == [
        "extrapolate",
        "forensics",
        "htmp",
        "logdet",
        "noise",
        "null_alpha",
        "phase",
        "powerlaw",
        "predicted",
        "scale",
        "sketch",
        "tails",
        "traps",
        "weightwatcher",
    ]
    assert {row.problem for row in own} == {""}
    assert {row.name for row in own} <= set(available())


def test_a_third_party_registers_the_same_way(ship: Ship) -> None:
    ship(mine="shipped_analyzers:Mine")
    assert "mine" in available()
    assert "shipped_analyzers" not in sys.modules
    analyzer = build("mine", {"count": 5})
    assert analyzer.name == "mine"
    assert analyzer.options.count == 5
    assert analyzer.options.share == 0.5
    row = next(row for row in installed() if row.name == "mine")
    assert (row.distribution, row.version, row.problem) == ("plugin", "1.2", "")
    assert metric_catalogue([analyzer])["mine"]["analyzer"] == "mine"


def test_an_unknown_one_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"Unknown analyzer 'powrlaw'\. Did you mean 'powerlaw'") as raised:
        load("powrlaw")
    assert raised.value.code == "RA-US-101"
    assert "scale" in raised.value.hint


def test_broken_plugins_are_rows_and_errors_only_when_asked_for(ship: Ship) -> None:
    ship(
        raising="raising_analyzers:X",
        absent="no_such_module:X",
        number="shipped_analyzers:broken",
        other="shipped_analyzers:Unnamed",
        twice="shipped_analyzers:Twice",
        bare="shipped_analyzers:Bare",
        both="shipped_analyzers:Both",
        prefixed="shipped_analyzers:Prefixed",
        uncoded="shipped_analyzers:Uncoded",
        unkind="shipped_analyzers:Unkind",
        attribute="shipped_analyzers:Nothing",
    )
    found = problems()
    assert r"RuntimeError: \x1b[31mno licence" in found["raising"]
    assert "No module named" in found["absent"]
    assert "not a subclass" in found["number"]
    assert "its name is 'someone else'" in found["other"]
    assert "declares a metric twice" in found["twice"]
    assert "declares no name, metrics, Options" in found["bare"]
    assert "needs the spectrum that it replaces" in found["both"]
    assert "the prefix of rmtaudit's own codes" in found["prefixed"]
    assert "needs a code such as TS-001" in found["uncoded"]
    assert "not all of its findings are instances of FindingKind" in found["unkind"]
    assert "cannot be imported" in found["attribute"]
    for name, code in (("raising", "RA-US-102"), ("number", "RA-US-103")):
        with pytest.raises(UsageError) as raised:
            load(name)
        assert raised.value.code == code
    assert build("scale").name == "scale"


def test_two_of_one_name(ship: Ship) -> None:
    ship("first", mine="shipped_analyzers:Mine")
    ship("second", mine="shipped_analyzers:Rival")
    with pytest.raises(UsageError, match=r"Two analyzers are named 'mine': first .* and second") as raised:
        load("mine")
    assert raised.value.code == "RA-US-104"
    assert problems()["mine"].startswith("Two analyzers")


def test_two_that_yield_the_same_metric(ship: Ship) -> None:
    ship(mine="shipped_analyzers:Mine", rival="shipped_analyzers:Rival")
    with pytest.raises(UsageError, match="both compute the metric 'mine'") as raised:
        build_all(["mine", "rival"])
    assert raised.value.code == "RA-US-105"
    assert [analyzer.name for analyzer in build_all(["mine", "scale", "mine"])] == ["mine", "scale"]


def test_the_allow_list_keeps_plugins_out(ship: Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(mine="shipped_analyzers:Mine", rival="shipped_analyzers:Rival")
    monkeypatch.setenv("RMTAUDIT_PLUGINS", "rival, other")
    assert "rival" in available()
    assert "scale" in available()
    assert "mine" not in available()
    assert problems() == {"mine": "not named in RMTAUDIT_PLUGINS", "rival": ""}
    with pytest.raises(UsageError, match="Unknown analyzer 'mine'"):
        load("mine")


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("count", 1.0, "a whole number"),
        ("count", True, "a whole number"),
        ("count", None, "a whole number"),
        ("count", "3", "a whole number"),
        ("share", "x", "a finite number"),
        ("share", float("nan"), "a finite number"),
        ("share", float("inf"), "a finite number"),
        ("share", False, "a finite number"),
        ("on", 1, "true or false"),
        ("label", 1, "a text"),
        ("mode", "c", "'a' or 'b'"),
        ("limit", "x", "a whole number or null or 'force'"),
        ("limit", [1], "a whole number or null or 'force'"),
    ],
)
def test_options_of_a_wrong_type(ship: Ship, option: str, value: object, wanted: str) -> None:
    ship(mine="shipped_analyzers:Mine")
    with pytest.raises(UsageError, match=rf"The option mine\.{option} must be {wanted}, not") as raised:
        build("mine", {option: value})
    assert raised.value.code == "RA-US-107"


def test_options_that_fit(ship: Ship) -> None:
    ship(mine="shipped_analyzers:Mine")
    options = build("mine", {"share": 1, "mode": "b", "limit": "force", "on": True, "label": ""}).options
    assert isinstance(options.share, float)
    assert (options.share, options.mode, options.limit, options.on) == (1.0, "b", "force", True)
    assert build("mine", {"limit": 4}).options.limit == 4
    assert build("mine", {"limit": None}).options.limit is None


def test_options_that_are_unknown_or_refused(ship: Ship) -> None:
    ship(mine="shipped_analyzers:Mine")
    with pytest.raises(UsageError, match=r"no option 'cuont'\. Did you mean 'count'") as raised:
        build("mine", {"cuont": 1})
    assert raised.value.code == "RA-US-106"
    with pytest.raises(UsageError, match="count is above 100") as raised:
        build("mine", {"count": 101})
    assert raised.value.code == "RA-US-108"
