"""The two tails of a sample, as a document of strict JSON: what ``rmtaudit tails`` prints."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from rmtaudit.engine.samples.words import LOWER_NAMES, UPPER_NAMES, misfit_sentence, sentence, tie_sentence
from rmtaudit.errors import NothingAuditableError, UsageError
from rmtaudit.version import installed_version

if TYPE_CHECKING:
    import torch

    from rmtaudit.engine.samples.unit import Scaled, Unit
    from rmtaudit.kernels.tails.bootstrap import TailBootstrap
    from rmtaudit.kernels.tails.laws import Parameter
    from rmtaudit.kernels.tails.tail import Side, Tail

SCHEMA_NAME = "rmtaudit.tails"
SCHEMA_VERSION = "2.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TailSettings:
    """How tails are fitted.

    Attributes
    ----------
    side
        Which tails.
    bootstrap
        Replicas of each bootstrap: 0 for none, or at least 100. With fewer no law could be ruled out.
    fraction
        Share of the lowest values that the inverse gamma law is fitted to.
    min_tail
        Minimum number of values in a tail.
    level
        Maximum probability of rejecting the true law.
    confidence
        Coverage of the intervals.
    seed
        Seed of the bootstraps.
    parameter
        Of the log of a training: the parameters whose gradient norm is taken, a name or a pattern of a shell;
        ``None`` for all together.
    window
        Of the log of a training: the first step that is taken, and the first that is not any more.
    """

    side: Literal["both", "upper", "lower"] = "both"
    bootstrap: int = 0
    fraction: float = 0.05
    min_tail: int = 8
    level: float = 0.05
    confidence: float = 0.9
    seed: int = 0
    parameter: str | None = None
    window: tuple[int, int | None] = (0, None)

    def __post_init__(self) -> None:
        least = 100
        if self.bootstrap and self.bootstrap < least:
            raise UsageError(
                "RA-US-401",
                f"{self.bootstrap} replicas cannot reject a law: the smallest p-value is "
                f"1/{self.bootstrap + 1}.",
                hint=f"Give 0 or at least {least}.",
            )


class TailKeywords(TypedDict, total=False):
    """The fields of :class:`TailSettings` as keywords of a call."""

    side: Literal["both", "upper", "lower"]
    bootstrap: int
    fraction: float
    min_tail: int
    level: float
    confidence: float
    seed: int
    parameter: str | None
    window: tuple[int, int | None]


def study_file(path: Path, settings: TailSettings) -> dict[str, Any]:
    """Return the document of the values of a file.

    Raises
    ------
    InputError
        RA-SA-…, as :func:`rmtaudit.matrices.samples.read_samples`; RA-GN-…, as
        :func:`rmtaudit.matrices.gradient_log.read_gradient_norms`, of JSON lines.
    UsageError
        RA-US-406: parameters or a window of a file that is no log of a training.
    NothingAuditableError
        RA-NA-002 where none of the tails asked for can be fitted.
    """
    from rmtaudit.matrices.gradient_log import ENDINGS, read_gradient_norms
    from rmtaudit.matrices.samples import read_samples

    if path.suffix.lower() in ENDINGS:
        from rmtaudit.engine.samples.gradients import describe

        sample = read_gradient_norms(path, parameter=settings.parameter, window=settings.window)
        document = study_values(sample.values, settings, path=str(path))
        document["subject"]["gradients"] = describe(sample)
        return document
    if settings.parameter is not None or settings.window != (0, None):
        from rmtaudit.engine.samples.gradients import not_a_log

        raise not_a_log(path)
    return study_values(read_samples(path), settings, path=str(path))


def study_values(values: torch.Tensor, settings: TailSettings, *, path: str = "") -> dict[str, Any]:
    """Return the document of ``values``: shape ``(n,)``, finite. Raises as :func:`study_file`."""
    from rmtaudit.engine.samples.unit import scaled

    given = scaled(values)
    document: dict[str, Any] = {
        "schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION},
        "tool": {"version": installed_version(), "options": asdict(settings), "seed": settings.seed},
        "subject": {"path": path, **_facts(values), "grid_step": given.step},
    }
    if settings.side != "lower":
        document["upper"] = _tail(given, "upper", settings)
    if settings.side != "upper":
        document["lower"] = _tail(given, "lower", settings)
        document["near_zero"] = _near_zero(given, settings)
    parts = [document[part] for part in ("upper", "lower", "near_zero") if part in document]
    if all(part["status"] == "failed" for part in parts):
        reasons = "; ".join(dict.fromkeys(part["reason"] for part in parts))
        raise NothingAuditableError("RA-NA-002", f"No tail can be fitted: {reasons}.", where=path)
    return document


def _facts(values: torch.Tensor) -> dict[str, Any]:
    positive = values[values > 0]
    # the error that a float64 eigenvalue solver may leave; for other samples it means nothing
    rounding = len(values) * 2.0**-52 * float(values.abs().max())
    return {
        "values": len(values),
        "positive": len(positive),
        "excluded": len(values) - len(positive),
        "distinct": len(set(positive.tolist())),
        "least_positive": float(positive.min()) if len(positive) else None,
        "greatest": float(values.max()),
        "positive_below_rounding": int((positive < rounding).sum()),
    }


def _tail(given: Scaled, side: Side, settings: TailSettings) -> dict[str, Any]:
    from rmtaudit.kernels.powerlaw.fit import NoFit
    from rmtaudit.kernels.tails.bootstrap import bootstrap_tail, calibrated
    from rmtaudit.kernels.tails.tail import fit_tail

    refusal = given.problem or (given.lower if side == "lower" else "")
    if refusal:
        return _failed(refusal)
    values = given.values
    tail = fit_tail(
        values,
        side,
        min_tail=settings.min_tail,
        level=settings.level,
        support=given.support if side == "upper" else "continuous",
    )
    if isinstance(tail, NoFit):
        return _failed(tail.reason)
    bootstrap = None
    if settings.bootstrap:
        spread = bootstrap_tail(
            values,
            tail,
            replicas=settings.bootstrap,
            generator=_generator(settings.seed, side),
            confidence=settings.confidence,
        )
        if isinstance(spread, NoFit):
            return _failed(spread.reason)
        tail, bootstrap = calibrated(tail, spread), spread
    return {
        "status": "ok",
        "reason": "",
        "support": tail.support,
        "warnings": _warnings(tail, given.unit),
        **_power_law(tail, bootstrap, given.unit),
        "laws": _laws(tail, bootstrap, given.unit),
        "comparisons": [
            {
                **asdict(comparison),
                "z": comparison.z if math.isfinite(comparison.z) else None,
                "better": comparison.better,
            }
            for comparison in tail.comparisons
        ],
        "verdict": _verdict(tail, bootstrap),
    }


def _warnings(tail: Tail, unit: Unit) -> list[str]:
    """Return what makes a verdict void: it is said before the numbers."""
    ties = tail.ties
    if ties is not None:
        value = ties.value if tail.side == "upper" else 1 / ties.value
        return [tie_sentence(ties, unit.to_file(value), tail.side)]
    return [] if tail.verdict.plausible else [misfit_sentence(tail)]


def _power_law(tail: Tail, bootstrap: TailBootstrap | None, unit: Unit) -> dict[str, Any]:
    """Return the power law: of ``x``, or for the lower tail of the distribution function at small ``x``."""
    fit = tail.power_law
    se = fit.sigma if bootstrap is None else bootstrap.alpha_se
    low, high = (fit.alpha_low, fit.alpha_high)
    assert low is not None
    assert high is not None
    alpha_ci = None if bootstrap is None else list(bootstrap.alpha_ci)
    xmin_ci = None if bootstrap is None else list(bootstrap.xmin_ci)
    common: dict[str, Any] = {
        "tail_size": fit.tail_size,
        "tail_size_ci": None if bootstrap is None else list(bootstrap.tail_size_ci),
        "tail_share": fit.tail_size / fit.size,
        "ks_distance": fit.ks_distance,
        "p_value": None if bootstrap is None else bootstrap.p_value,
        "start_doubt": None if bootstrap is None else bootstrap.start_doubt,
    }
    if tail.side == "upper":
        return {
            "alpha": {"value": fit.alpha, "se": se, "ci": alpha_ci},
            "alpha_range": [low, high],
            "xmin": {
                "value": unit.to_file(fit.xmin),
                "ci": xmin_ci and [unit.to_file(end) for end in xmin_ci],
            },
            **common,
        }
    return {
        "exponent": {"value": fit.alpha - 1, "se": se, "ci": alpha_ci and [end - 1 for end in alpha_ci]},
        "exponent_range": [low - 1, high - 1],
        "xmax": {
            "value": unit.to_file(1 / fit.xmin),
            "ci": xmin_ci and [unit.to_file(1 / end) for end in reversed(xmin_ci)],
        },
        **common,
    }


def _laws(tail: Tail, bootstrap: TailBootstrap | None, unit: Unit) -> list[dict[str, Any]]:
    names = UPPER_NAMES if tail.side == "upper" else LOWER_NAMES
    base = tail.laws[0].log_likelihood
    against = {case.second: case.p_value for case in tail.comparisons if case.first == "power_law"}
    return [
        {
            "law": fit.law,
            "of": "x" if tail.side == "upper" else "1/x",
            "name": names[fit.law],
            "parameters": {
                name: _in_file(name, parameter, tail.side, unit) for name, parameter in fit.parameters.items()
            },
            "degenerate": fit.degenerate,
            "ks_distance": tail.distances[fit.law],
            "possible": fit.law not in tail.impossible,
            "gain": fit.log_likelihood - base,
            "p_value": against.get(fit.law),
            "bootstrap_p_value": None if bootstrap is None else bootstrap.gain_p_values.get(fit.law),
            "best_share": None if bootstrap is None else bootstrap.best_shares[fit.law],
        }
        for fit in tail.laws
    ]


def _in_file(name: str, parameter: Parameter, side: Side, unit: Unit) -> dict[str, float | None]:
    """Return a parameter in the unit of the file; for the lower tail, that of its reciprocals."""
    value, se = parameter.value, parameter.se
    if name == "mu":
        return {"value": value + unit.log if side == "upper" else value - unit.log, "se": se}
    if name != "rate":
        return {"value": value, "se": se}
    convert = unit.rate_to_file if side == "upper" else unit.to_file
    return {"value": convert(value), "se": None if se is None else convert(se)}


def _verdict(tail: Tail, bootstrap: TailBootstrap | None) -> dict[str, Any]:
    verdict = tail.verdict
    if tail.ties is not None:
        return {
            "status": "tied",
            "winner": None,
            "simplest": None,
            "plausible": [],
            "ruled_out": [],
            "best": None,
            "level": verdict.level,
            "sentence": "No law is judged, because the values are tied.",
        }
    return {
        "status": "judged" if verdict.plausible else "none fits",
        "winner": verdict.winner,
        "simplest": verdict.simplest,
        "plausible": list(verdict.plausible),
        "ruled_out": [{"law": law, "by": by} for law, by in verdict.ruled_out],
        "best": verdict.best,
        "level": verdict.level,
        "sentence": sentence(tail, bootstrap),
    }


def _near_zero(given: Scaled, settings: TailSettings) -> dict[str, Any]:
    from rmtaudit.kernels.powerlaw.fit import NoFit
    from rmtaudit.kernels.tails.near_zero import bootstrap_near_zero, fit_near_zero, lowest_values_problem

    if given.problem or given.lower:
        return _failed(given.problem or given.lower)
    values, unit = given.values, given.unit
    fit = fit_near_zero(values, fraction=settings.fraction, min_tail=settings.min_tail)
    if isinstance(fit, NoFit):
        return _failed(fit.reason)
    few = lowest_values_problem(values, fit.threshold)
    if few:
        return _failed(few)
    bootstrap = None
    if settings.bootstrap:
        spread = bootstrap_near_zero(
            values,
            fit,
            replicas=settings.bootstrap,
            generator=_generator(settings.seed, "near zero"),
            confidence=settings.confidence,
        )
        if isinstance(spread, NoFit):
            return _failed(spread.reason)
        bootstrap = spread
    p_value = fit.p_value if bootstrap is None else max(fit.p_value, bootstrap.p_value)
    if p_value < settings.level:
        verdict = "An inverse gamma law describes the lowest values better than a power law."
    else:
        verdict = "The laws are not distinguishable: the inverse gamma law fits no better than a power law."
    return {
        "status": "ok",
        "reason": "",
        "fraction": fit.fraction,
        "threshold": unit.to_file(fit.threshold),
        "tail_size": fit.tail_size,
        "power": {"value": fit.power, "se": fit.power_se, "ci": bootstrap and list(bootstrap.power_ci)},
        "rate": {
            "value": unit.to_file(fit.rate),
            "se": None if fit.rate_se is None else unit.to_file(fit.rate_se),
            "ci": bootstrap and [unit.to_file(end) for end in bootstrap.rate_ci],
        },
        "exponent": {
            "value": fit.exponent,
            "se": fit.exponent_se,
            "ci": bootstrap and list(bootstrap.exponent_ci),
        },
        "gain": fit.gain,
        "p_value": fit.p_value,
        "bootstrap_p_value": bootstrap and bootstrap.p_value,
        "better": p_value < settings.level,
        "sentence": verdict,
    }


def _failed(reason: str) -> dict[str, Any]:
    return {"status": "failed", "reason": reason}


def _generator(seed: int, purpose: str) -> torch.Generator:
    """Return a generator of its own for each part, so that leaving one out changes no other."""
    import torch

    digest = hashlib.sha256(f"{seed}\0tails {purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
