from __future__ import annotations

import pytest

from rmtaudit.cli.progress import expected_line, line_every, steps_watched, watch
from rmtaudit.engine.resources.progress import Estimate, Progress


def test_off_a_terminal_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    watcher = line_every(10.0, "model", clock=lambda: now)
    for second in range(31):
        now = float(second)
        watcher(Progress(done=second, total=31, name="x", parameters_done=second * 10, parameters_total=310))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "rmtaudit: model: 10 of 31 layers, 32% of the parameters",
        "rmtaudit: model: 20 of 31 layers, 65% of the parameters",
        "rmtaudit: model: 30 of 31 layers, 97% of the parameters",
    ]


def test_nothing_where_nothing_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with watch("model", enabled=False) as watcher:
        assert watcher is None
    with watch("model", enabled=True) as watcher:
        assert watcher is not None
        watcher(Progress(done=1, total=2, name="x", parameters_done=0, parameters_total=0))
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with watch("model [red]\x1b[31m", enabled=True) as watcher:
        assert watcher is not None
        watcher(Progress(done=1, total=2, name="x", parameters_done=10, parameters_total=20))
    out, err = capsys.readouterr()
    assert out == ""
    assert r"model [red]\x1b[31m" in err
    assert "1/2 layers" in err


def test_a_bar_of_steps_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with steps_watched("pairs", enabled=True) as step:
        step(3, 10)
    out, err = capsys.readouterr()
    assert out == ""
    assert "3/10 pairs" in err
    with steps_watched("pairs", enabled=False) as step:
        step(3, 10)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "fast", "threads", "line"),
    [
        (
            240.0, 61.0, 2,
            "226 layers; about 4 minutes on 2 CPUs. "
            "`--preset fast`, which gives no verdicts, would take about 1 minute.",
        ),
        (70.0, 14.0, 1,
            "226 layers; about 1 minute on 1 CPU. "
            "`--preset fast`, which gives no verdicts, would take about 10 seconds."),
        (7200.0, None, 8, "226 layers; about 2.0 hours on 8 CPUs."),
    ],
)  # fmt: skip
def test_what_a_long_scan_will_take(seconds: float, fast: float | None, threads: int, line: str) -> None:
    estimate = Estimate(
        layers=226, threads=threads, seconds=seconds, seconds_most=1.02 * seconds, seconds_fast=fast
    )
    assert expected_line(estimate) == line
    assert ", without the transfer." in expected_line(estimate, streamed=True)


def test_the_time_for_noise_is_stated_where_it_differs() -> None:
    estimate = Estimate(layers=226, threads=2, seconds=300.0, seconds_most=540.0, seconds_fast=None)
    line = "226 layers; about 5 minutes on 2 CPUs, 9 minutes if every layer is noise."
    assert expected_line(estimate) == line
