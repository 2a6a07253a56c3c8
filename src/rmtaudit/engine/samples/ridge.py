"""Whether more data or more units will help: ``rmtaudit forecast ridge``, as a document of strict JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from rmtaudit.engine.resources.device_names import Device
from rmtaudit.errors import UsageError
from rmtaudit.version import installed_version

if TYPE_CHECKING:
    import torch

    from rmtaudit.engine.samples.ridge_curves import Curves, Estimate
    from rmtaudit.engine.samples.ridge_data import RidgeData

SCHEMA_NAME = "rmtaudit.forecast.ridge"
SCHEMA_VERSION = "1.0"

_NARROW, _WIDE = 1 / 16, 8
"""A convention: widths of the grid, in units of the training samples."""
_PEAK_RIDGE = 1e-5
"""A convention: the small ridge at which the peak of double descent is looked for."""
_PEAK = 1.05
"""A convention: a peak is above both ends of its curve by this factor."""
_AGREEMENT, _BIAS = 3.0, 0.05
"""A convention: theory and draws agree within 3 standard errors or 5 percent; the theory is a limit, and the
standard error of many draws goes to 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeSettings:
    """What is forecast.

    Attributes
    ----------
    activation
        Name of the activation function.
    width, ridge
        Of the network in question; ``None``: the best on the grid.
    labels
        Whether targets are classes.
    raw
        Whether inputs are neither centred nor scaled.
    hold_out
        Share of the samples that are test samples where the file has none.
    samples
        Most training samples, and most test samples, that are used.
    points
        Widths of the grid.
    draws
        Random networks that are trained to check the theory; 0 for none, or at least 2.
    confidence
        Coverage of the intervals.
    seed
        Seed of the split, of the parts of the samples, and of the networks.
    device
        Where kernels are decomposed, and networks trained.
    """

    activation: str = "relu"
    width: int | None = None
    ridge: float | None = None
    labels: bool = False
    raw: bool = False
    hold_out: float = 0.25
    samples: int = 2000
    points: int = 13
    draws: int = 5
    confidence: float = 0.9
    seed: int = 0
    device: Device = "cpu"


class RidgeKeywords(TypedDict, total=False):
    """The fields of :class:`RidgeSettings` as keywords of a call."""

    activation: str
    width: int | None
    ridge: float | None
    labels: bool
    raw: bool
    hold_out: float
    samples: int
    points: int
    draws: int
    confidence: float
    seed: int
    device: Device


def forecast_ridge_file(path: Path, settings: RidgeSettings) -> dict[str, Any]:
    """Return the document of a file. Raises as :func:`forecast_ridge_arrays` and of reading the file."""
    from rmtaudit.engine.samples.ridge_data import read_arrays

    return forecast_ridge_arrays(read_arrays(path), settings, path=str(path))


def forecast_ridge_arrays(
    arrays: Mapping[str, torch.Tensor], settings: RidgeSettings, *, path: str = ""
) -> dict[str, Any]:
    """Return the document of the arrays ``x``, ``y`` and, if given, ``x_test`` and ``y_test``.

    Raises
    ------
    InputError
        As :func:`rmtaudit.engine.samples.ridge_data.ridge_data`.
    UsageError
        RA-US-407: settings that make no sense. RA-US-201: there is no CUDA device.
    """
    from rmtaudit.engine.resources.devices import chosen_device
    from rmtaudit.engine.samples.ridge_curves import Curves
    from rmtaudit.engine.samples.ridge_data import ridge_data

    _check(settings, path)
    device = chosen_device(settings.device)
    data = ridge_data(
        arrays,
        labels=settings.labels,
        raw=settings.raw,
        hold_out=settings.hold_out,
        samples=settings.samples,
        seed=settings.seed,
        where=path,
    ).to(device)
    curves = Curves(data, settings.activation, settings.seed)
    report = _Report(curves, settings)
    widths = _widths(len(data.inputs), settings)
    tuned = {width: curves.best(width) for width in widths}
    best_width = min(widths, key=lambda width: tuned[width].value)
    width = settings.width or best_width
    ridge = settings.ridge or tuned[width].ridge
    return {
        "schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION},
        "tool": {"version": installed_version(), "options": asdict(settings), "seed": settings.seed},
        "subject": _subject(data, path),
        "network": {
            "width": width,
            "width_given": settings.width is not None,
            "ridge": ridge,
            "ridge_given": settings.ridge is not None,
            **report.errors(curves.at(width, ridge)),
        },
        "best": {"width": best_width, **report.tuned(tuned[best_width])},
        "width": [
            {
                "width": each,
                **report.errors(curves.at(each, ridge)),
                "tuned": report.tuned(tuned[each]),
            }
            for each in widths
        ],
        "ridge": [
            {"ridge": one.ridge, **report.errors(one)} for one in curves.along(width, _shown_ridges(ridge))
        ],
        "peak": _peak(curves, widths),
        "samples": report.samples(width),
        "answers": {"data": report.more_data(width), "width": report.more_width(width)},
        "check": _simulated(curves, sorted({width, len(data.inputs), best_width}), ridge, settings),
    }


@dataclass(frozen=True, slots=True)
class _Report:
    """Values with their errors, as the document has them."""

    curves: Curves
    settings: RidgeSettings

    def errors(self, one: Estimate) -> dict[str, Any]:
        return {"train": one.train, "test": self.number(one.value, one.se)}

    def tuned(self, one: Estimate) -> dict[str, Any]:
        from rmtaudit.engine.samples.ridge_curves import RIDGES

        edge = one.ridge in (float(RIDGES[0]), float(RIDGES[-1]))
        return {"ridge": one.ridge, "at_edge": edge, **self.errors(one)}

    def number(self, value: float, se: float) -> dict[str, Any]:
        from statistics import NormalDist

        half = NormalDist().inv_cdf((1 + self.settings.confidence) / 2) * se
        return {"value": value, "se": se, "ci": [value - half, value + half]}

    def at(self, width: int, samples: int | None = None) -> Estimate:
        """Return the errors at the given ridge, or else at the best for this width and sample size."""
        ridge = self.settings.ridge
        curves = self.curves
        return curves.best(width, samples) if ridge is None else curves.at(width, ridge, samples)

    def samples(self, width: int) -> list[dict[str, Any]]:
        from rmtaudit.engine.samples.ridge_curves import FRACTIONS, SUBSETS

        count = len(self.curves.data.inputs)
        rows = []
        for size in [*(round(share * count) for share in FRACTIONS), count]:
            one = self.at(width, size)
            parts = SUBSETS if size < count else 1
            rows.append({"samples": size, "parts": parts, "ridge": one.ridge, **self.errors(one)})
        return rows

    def more_data(self, width: int) -> dict[str, Any]:
        """Return what the last doubling of the samples brought, and what the next one may."""
        from rmtaudit.engine.samples.ridge_curves import SUBSETS

        count = len(self.curves.data.inputs)
        before, after = self.at(width, round(count / 2)), self.at(width)
        paired = before.errors - after.errors
        sampled = float(paired.std()) / len(paired) ** 0.5
        # all samples are one part as well: no less spread than the mean of the halves
        se = (sampled**2 + before.spread**2 * (1 + 1 / SUBSETS)) ** 0.5
        answer = self._answer(float(paired.mean()), se, before.value)
        return {
            "from": round(count / 2),
            "to": count,
            **answer,
            "same_factor": after.value**2 / before.value if answer["verdict"] == "helps" else None,
            # what that rule would have said of the samples that are there
            "hindcast": {
                "predicted": before.value**2 / self.at(width, round(count / 4)).value,
                "value": after.value,
            },
        }

    def more_width(self, width: int) -> dict[str, Any]:
        """Return what twice the units bring."""
        before, after = self.at(width), self.at(2 * width)
        paired = before.errors - after.errors
        se = float(paired.std()) / len(paired) ** 0.5
        answer = self._answer(float(paired.mean()), se, before.value)
        return {"from": width, "to": 2 * width, **answer, "test": self.number(after.value, after.se)}

    def _answer(self, gain: float, se: float, before: float) -> dict[str, Any]:
        number = self.number(gain, se)
        low, high = number["ci"]
        verdict = "helps" if low > 0 else "hurts" if high < 0 else "no difference seen"
        return {"verdict": verdict, "gain": number, "share": gain / before}


def _check(settings: RidgeSettings, path: str) -> None:
    from rmtaudit.kernels.equivalents.feature_kernel import FEATURES

    problem = None
    if settings.activation not in FEATURES:
        problem = f"The activation {settings.activation!r} is not one of {', '.join(FEATURES)}."
    elif settings.ridge is not None and not 0 < settings.ridge < float("inf"):
        problem = "The ridge must be a positive number."
    elif settings.width is not None and settings.width < 1:
        problem = "The width must be at least 1."
    elif not 0 < settings.hold_out < 1 or not 0 < settings.confidence < 1:
        problem = "Shares must lie between 0 and 1."
    elif settings.points < 2 or settings.draws == 1 or settings.draws < 0 or settings.samples < 1:
        problem = "At least 2 points and 1 sample are needed, and draws must be 0 or at least 2."
    if problem is not None:
        raise UsageError("RA-US-407", problem, where=path)


def _widths(samples: int, settings: RidgeSettings) -> list[int]:
    import numpy as np

    grid = np.geomspace(max(1.0, _NARROW * samples), _WIDE * samples, settings.points)
    given = [] if settings.width is None else [settings.width]
    return sorted({*(round(float(width)) for width in grid), samples, *given})


def _shown_ridges(ridge: float) -> torch.Tensor:
    import torch

    from rmtaudit.engine.samples.ridge_curves import RIDGES

    shown: torch.Tensor = torch.unique(torch.cat([RIDGES[::4], RIDGES.new_tensor([ridge])]))
    return shown


def _subject(data: RidgeData, path: str) -> dict[str, Any]:
    tested = data.test_targets
    return {
        "path": path,
        "samples": len(data.inputs),
        "available": data.available,
        "tested": len(data.test_inputs),
        "held_out": data.held_out,
        "features": data.inputs.shape[1],
        "outputs": data.targets.shape[1],
        "classes": data.classes,
        # of the best constant, chosen on the training samples
        "constant_error": float((tested - data.targets.mean(0)).square().mean()),
    }


def _peak(curves: Curves, widths: list[int]) -> dict[str, Any]:
    """Return where the test error is largest at a small ridge, if that is inside the grid."""
    errors = {width: curves.at(width, _PEAK_RIDGE).value for width in widths}
    width = max(widths, key=lambda each: errors[each])
    ends = max(errors[widths[0]], errors[widths[-1]])
    found = width not in (widths[0], widths[-1]) and errors[width] > _PEAK * ends
    return {
        "status": "ok" if found else "none",
        "ridge": _PEAK_RIDGE,
        "width": width if found else None,
        "ratio": width / len(curves.data.inputs) if found else None,
        "test": errors[width] if found else None,
    }


def _simulated(curves: Curves, widths: list[int], ridge: float, settings: RidgeSettings) -> dict[str, Any]:
    """Return the errors of random networks that were trained, beside the theory."""
    import torch

    from rmtaudit.kernels.equivalents.random_features import simulate_ridge

    if not settings.draws:
        return {"verdict": "not checked", "rows": []}
    data, rows = curves.data, []
    generator = torch.Generator().manual_seed(settings.seed)
    draw = partial(simulate_ridge, generator=generator)
    ridges = torch.tensor([ridge], dtype=torch.float64)
    train, test = (data.inputs, data.targets), (data.test_inputs, data.test_targets)
    for width in widths:
        drawn = torch.stack(
            [
                torch.stack(draw(settings.activation, train, test, width, ridges))[:, 0]
                for _ in range(settings.draws)
            ]
        )
        theory = curves.at(width, ridge)
        row: dict[str, Any] = {"width": width}
        for index, (name, value) in enumerate((("train", theory.train), ("test", theory.value))):
            mean, se = float(drawn[:, index].mean()), float(drawn[:, index].std() / settings.draws**0.5)
            near = abs(value - mean) <= max(_AGREEMENT * se, _BIAS * mean)
            row[name] = {"theory": value, "mean": mean, "se": se, "agrees": near}
        rows.append(row)
    agrees = all(row[name]["agrees"] for row in rows for name in ("train", "test"))
    return {"verdict": "agrees" if agrees else "differs", "rows": rows}
