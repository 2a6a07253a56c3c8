from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from gates import check, document, hostile, subject

from rmtaudit.engine.gate.to_mlflow import log_to_mlflow, metrics_of_gate
from rmtaudit.errors import OutputError, UsageError


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    return tmp_path / "store"


@pytest.mark.filterwarnings("ignore")
def test_a_gate_is_logged_to_a_store_of_files(store: Path, made: ModuleType) -> None:
    gate = document(subject(check()))
    report = made.report([made.layer("h.0")])
    (run,) = [path for path in store.rglob(log_to_mlflow(gate, [report])) if path.is_dir()]
    metrics = {path.name: float(path.read_text().split()[1]) for path in (run / "metrics").iterdir()}
    assert metrics["rmtaudit.alpha"] == 3.1
    assert (metrics["rmtaudit.alpha.low"], metrics["rmtaudit.alpha.high"]) == (2.9, 3.3)
    assert metrics["rmtaudit.checks.failed"] == 1
    assert (run / "tags" / "rmtaudit.outcome").read_text() == "failed"
    stored = json.loads((run / "artifacts" / "rmtaudit" / "gate.json").read_text())
    assert stored == gate.to_dict()
    assert json.loads((run / "artifacts" / "rmtaudit" / "report.json").read_text()) == report.to_dict()


@pytest.mark.filterwarnings("ignore")
def test_hostile_names_are_logged_as_names(store: Path) -> None:
    log_to_mlflow(hostile("a\r\n../../x | <b>"), [])
    assert not list(store.parent.glob("x*"))
    assert all(key.isascii() and "<" not in key for key in metrics_of_gate(hostile("a<b>é\n")))


@pytest.mark.filterwarnings("ignore")
def test_what_mlflow_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://server")
    with pytest.raises(OutputError) as refused:
        log_to_mlflow(document(subject()), [])
    assert refused.value.code == "RA-OU-008"


def test_without_mlflow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UsageError) as missing:
        log_to_mlflow(document(subject()), [])
    assert missing.value.code == "RA-US-307"
    assert "rmtaudit[mlflow]" in missing.value.hint


def test_several_models_have_metrics_of_their_own() -> None:
    metrics = metrics_of_gate(document(subject(), subject(path="b")))
    assert metrics["rmtaudit.1.alpha"] == metrics["rmtaudit.2.alpha"] == 3.1
