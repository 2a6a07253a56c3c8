"""The document of the tails of a sample."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmtaudit.engine.samples.tails import TailSettings, study_file, study_values
from rmtaudit.errors import NothingAuditableError, UsageError
from rmtaudit.report.document import dumps
from rmtaudit.report.strict_json import parse_json

PAGE = Path(__file__).parents[3] / "docs/commands/tails.md"


def inverse_gamma(n: int = 1500) -> torch.Tensor:
    return torch.from_numpy(1 / np.random.default_rng(0).gamma(1.5, 1.0, n))


def keys_of(document: Any) -> set[str]:
    if isinstance(document, dict):
        return set(document) | {key for value in document.values() for key in keys_of(value)}
    return {key for value in document for key in keys_of(value)} if isinstance(document, list) else set()


def test_it_is_strict_json_and_the_same_for_the_same_seed() -> None:
    x = inverse_gamma(200)
    settings = TailSettings(bootstrap=100, seed=3)
    text = dumps(study_values(x, settings))
    assert text == dumps(study_values(x, settings))
    assert text != dumps(study_values(x, TailSettings(bootstrap=100, seed=4)))
    document = parse_json(text)
    assert document["schema"] == {"name": "rmtaudit.tails", "version": "2.1"}
    assert document["tool"]["seed"] == 3
    assert document["upper"]["alpha"]["ci"][0] < document["upper"]["alpha"]["ci"][1]
    assert document["lower"]["exponent"]["ci"][0] < document["lower"]["exponent"]["ci"][1]
    assert document["lower"]["xmax"]["ci"][0] < document["lower"]["xmax"]["ci"][1]
    assert document["near_zero"]["bootstrap_p_value"] >= 1 / 101


def test_leaving_a_side_out_changes_nothing_of_the_other() -> None:
    x = inverse_gamma(200)
    both = study_values(x, TailSettings(bootstrap=100))
    for side, parts in (("upper", {"upper"}), ("lower", {"lower", "near_zero"})):
        one = study_values(x, TailSettings(side=side, bootstrap=100))  # type: ignore[arg-type]
        assert set(one) == {"schema", "tool", "subject", *parts}
        assert all(one[part] == both[part] for part in parts)


@pytest.mark.parametrize(
    ("values", "start"),
    [
        (1 + np.random.default_rng(0).pareto(1.5, 1000), "Not distinguishable from the power law:"),
        (np.exp(np.abs(np.random.default_rng(7).normal(size=30_000))), "lognormal: each of the four other"),
        (1 + np.random.default_rng(0).exponential(size=10), "The laws are not distinguishable:"),
    ],
)
def test_the_sentence_claims_no_more_than_the_verdict(values: Any, start: str) -> None:
    upper = study_values(torch.from_numpy(values), TailSettings(side="upper"))["upper"]
    sentence, verdict = upper["verdict"]["sentence"], upper["verdict"]
    if start.startswith("lognormal"):
        # the start of the tail is chosen by the power law; where it leaves too few values there is no winner
        assert (verdict["winner"] is None) == ("each of the four" not in sentence)
    else:
        assert sentence.startswith(start)
        assert verdict["winner"] is None
    assert set(verdict["plausible"]) | {case["law"] for case in verdict["ruled_out"]} == {
        law["law"] for law in upper["laws"]
    }


def test_what_is_left_out_is_counted() -> None:
    x = torch.cat((inverse_gamma(300), torch.zeros(4), -torch.ones(2, dtype=torch.float64)))
    subject = study_values(x, TailSettings())["subject"]
    assert (subject["values"], subject["positive"], subject["excluded"]) == (306, 300, 6)
    tiny = study_values(torch.cat((x, torch.tensor([1e-30]))), TailSettings())["subject"]
    assert tiny["positive_below_rounding"] == 1


def test_a_part_without_a_fit_has_a_reason_and_none_at_all_is_inconclusive(tmp_path: Path) -> None:
    document = study_values(inverse_gamma(40), TailSettings())
    assert document["near_zero"] == {
        "status": "failed",
        "reason": "2 values in the lowest 5 % of 40, fewer than 8",
    }
    path = tmp_path / "few.csv"
    path.write_text("1\n2\n3\n")
    with pytest.raises(NothingAuditableError) as raised:
        study_file(path, TailSettings())
    assert (raised.value.code, raised.value.where) == ("RA-NA-002", str(path))


def test_replicas_that_cannot_rule_anything_out() -> None:
    with pytest.raises(UsageError) as raised:
        TailSettings(bootstrap=50)
    assert raised.value.code == "RA-US-401"


def test_every_field_is_on_the_page() -> None:
    document = study_values(inverse_gamma(400), TailSettings(bootstrap=100))
    laws = {law["law"] for law in document["upper"]["laws"]}
    parameters = {name for law in document["upper"]["laws"] for name in law["parameters"]}
    described = set(re.findall(r"`([a-z_0-9]+)`", PAGE.read_text(encoding="utf-8")))
    assert keys_of(json.loads(dumps(document))) - laws - parameters <= described
    assert laws | parameters <= described


def test_a_negative_value_beside_subnormal_ones_is_left_out() -> None:
    values = torch.tensor([5e-324, -0.62, -0.62, 5e-324], dtype=torch.float64)
    with pytest.raises(NothingAuditableError):
        study_values(values, TailSettings())
