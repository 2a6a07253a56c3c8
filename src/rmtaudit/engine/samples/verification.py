"""The second opinion on the tails of a sample."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rmtaudit.engine.verify.checks import Check, fit_checks, section
from rmtaudit.engine.verify.discrete import discrete_checks
from rmtaudit.matrices.gradient_log import ENDINGS
from rmtaudit.report.second_opinion import NotCompared, Verification

if TYPE_CHECKING:
    from numpy.typing import NDArray


def verify_tails(path: Path, document: Mapping[str, Any]) -> Verification:
    """Return the section ``verification`` of a document of ``rmtaudit tails``.

    The file is read by NumPy alone, and each tail fitted by the ``powerlaw`` package from the same start.
    """
    options = document["tool"]["options"]
    checks: list[Check] = []
    skipped: list[NotCompared] = []
    values = _read_log(path, options) if path.suffix.lower() in ENDINGS else _read(path)
    positive = values[values > 0]
    for side in ("upper", "lower"):
        tail = document.get(side)
        if tail is None:
            continue
        if tail["status"] != "ok":
            skipped.append({"owner": side, "reason": tail["reason"]})
            continue
        if tail["support"] == "discrete":
            step = document["subject"]["grid_step"] or 1.0
            checks.extend(
                discrete_checks(
                    side, np.rint(positive / step), alpha=tail["alpha"]["value"],
                    xmin=float(np.rint(tail["xmin"]["value"] / step)), size=tail["tail_size"],
                    distance=tail["ks_distance"], min_tail=options["min_tail"],
                )
            )  # fmt: skip
            continue
        upper = side == "upper"
        exponent, start = ("alpha", "xmin") if upper else ("exponent", "xmax")
        # in units of the start: reciprocals of subnormal values are no floats
        with np.errstate(over="ignore"):
            x = positive / tail[start]["value"] if upper else tail[start]["value"] / positive
        checks.extend(
            fit_checks(
                side, x[np.isfinite(x)], exponent=exponent,
                alpha=tail[exponent]["value"] + (0.0 if upper else 1.0), xmin=1.0,
                size=tail["tail_size"], distance=tail["ks_distance"], min_tail=options["min_tail"],
            )
        )  # fmt: skip
    count = _count(values, document["subject"])
    # that the file was read alike is no second opinion on a fit
    if checks or not count.agrees:
        checks.insert(0, count)
    return section(checks, skipped, int(document["tool"]["seed"]))


def _read(path: Path) -> NDArray[np.float64]:
    if path.suffix.lower() == ".npy":
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64).reshape(-1)
    # Latin-1 decodes every byte, and numbers are ASCII in every encoding that is accepted
    lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("latin-1").split("\n")
    words = [line.partition("#")[0].replace(",", " ").replace(";", " ").split() for line in lines]
    filled = [line for line in words if line]
    try:
        head = [float(word) for word in filled[0]]
    except ValueError:  # a heading
        head = []
    return np.array(head + [float(word) for line in filled[1:] for word in line])


def _read_log(path: Path, options: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the gradient norms of the log of a training, read by the json module."""
    first, last = options["window"]
    pattern = options["parameter"] or "*"
    names: list[str] = []
    values = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        record = json.loads(line)
        names = record.get("parameters", names)
        if record["kind"] != "gradients" or record["step"] < first or record["step"] >= (last or np.inf):
            continue
        chosen = [index for index, name in enumerate(names) if pattern == name or fnmatchcase(name, pattern)]
        norms = [record["norms"][index] for index in chosen]
        present = [norm for norm in norms if norm is not None]
        if present and not set(record.get("nonfinite", ())).intersection(chosen):
            values.append(float(np.linalg.norm(present)))
    return np.array(values)


def _count(values: NDArray[np.float64], subject: Mapping[str, Any]) -> Check:
    """Compare how many values there are, and the greatest of them."""
    difference = abs(len(values) - subject["values"]) + abs(float(values.max()) - subject["greatest"])
    return Check(
        owner="file",
        quantity="values",
        library="numpy",
        ours=subject["values"],
        theirs=len(values),
        deviation=difference,
    )
