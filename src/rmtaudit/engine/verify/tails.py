"""The second opinion on the tails of a sample."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rmtaudit.engine.verify.checks import Check, fit_checks, section

if TYPE_CHECKING:
    from numpy.typing import NDArray


def verify_tails(path: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section ``verification`` of a document of ``rmtaudit tails``.

    The file is read by NumPy alone, and each tail fitted by the ``powerlaw`` package from the same start.
    """
    options = document["tool"]["options"]
    checks: list[Check] = []
    skipped: list[dict[str, str]] = []
    values = _read(path)
    checks.append(_count(values, document["subject"]))
    for side in ("upper", "lower"):
        found = document.get(side)
        if found is None:
            continue
        if found["status"] != "ok":
            skipped.append({"owner": side, "reason": found["reason"]})
            continue
        if found.get("discrete"):
            skipped.append({"owner": side, "reason": "a discrete law was fitted"})
            continue
        with np.errstate(divide="ignore"):
            positive = values[values > 0]
            x = positive if side == "upper" else 1 / positive
        upper = side == "upper"
        exponent = "alpha" if upper else "exponent"
        checks.extend(
            fit_checks(
                side, x[np.isfinite(x)], exponent=exponent,
                alpha=found[exponent]["value"] + (0.0 if upper else 1.0),
                xmin=found["xmin"]["value"] if upper else 1 / found["xmax"]["value"],
                size=found["tail_size"], distance=found["ks_distance"], min_tail=options["min_tail"],
            )
        )  # fmt: skip
    return section(checks, skipped, int(document["tool"]["seed"]))


def _read(path: Path) -> NDArray[np.float64]:
    if path.suffix == ".npy":
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64).reshape(-1)
    text = path.read_text(encoding="utf-8-sig")
    words = [line.split("#")[0].replace(",", " ").replace(";", " ").split() for line in text.splitlines()]
    numbers: list[float] = []
    for index, line in enumerate(words):
        try:
            numbers.extend(float(word) for word in line)
        except ValueError:
            if index:  # only the first line may be a heading
                raise
    return np.array(numbers)


def _count(values: NDArray[np.float64], subject: Mapping[str, Any]) -> Check:
    """Compare how many values there are, and the greatest of them."""
    apart = abs(len(values) - subject["values"]) + abs(float(values.max()) - subject["greatest"])
    return Check("file", "values", "numpy", subject["values"], len(values), apart)
