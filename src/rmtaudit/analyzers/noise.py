"""``noise``: what part of a layer is noise, where it ends, and how much stands out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rmtaudit.analyzers.base import (
    ADAPTER_CORE,
    ZERO_MATRIX,
    Analysis,
    Analyzer,
    LayerInput,
    Metric,
    MetricValue,
    Observation,
    Scalar,
    failed,
    pooled,
    skipped,
)
from rmtaudit.kernels.spectra.accuracy import Accuracy

if TYPE_CHECKING:
    from rmtaudit.analyzers.signal import SignalFound
    from rmtaudit.kernels.noise.floor import NoiseFloor
    from rmtaudit.kernels.noise.null_tests import NullFit
    from rmtaudit.kernels.signal import Signal

_LISTED = 20
_MP = "Marchenko, Pastur 1967"
_REJECTED = "every noise model of the bulk is rejected, so the share of noise in the energy is unknown"


@dataclass(frozen=True, slots=True)
class NoiseOptions:
    """Options of :class:`Noise`.

    Attributes
    ----------
    sharp
        The null of the bulk: ``plain`` (every entry the same variance), ``sinkhorn`` or ``dyson`` (rows and
        columns of different scale, evened out), ``sign-flip`` (the same magnitudes with random signs), or
        ``auto``: the first of plain, sinkhorn and dyson that the bulk agrees with (dyson up to a smaller side
        of 1536).
    draws
        Draws of random signs behind the edge of the noise, at least 1. None is made where the test that needs
        none is decisive.
    level
        A p-value below it rejects: noise, or a null of the bulk.
    """

    sharp: Literal["auto", "plain", "sinkhorn", "dyson", "sign-flip"] = "auto"
    draws: int = 4
    level: float = 0.01

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, not {self.draws}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie between 0 and 1, not {self.level}")


class Noise(Analyzer):
    """A test of noise, the null that the bulk follows, and the spikes above it with their true strength."""

    name = "noise"
    metrics = (
        Metric(
            name="noise_p_value",
            description=(
                "p-value: probability that independent symmetric noise with any variance "
                "profile has as much structure."
            ),
            reference="rectangle statistic (Schott 2005) and largest eigenvalue, over random signs",
            summarised=False,
        ),
        Metric(
            name="noise_z",
            description=(
                "Agreement between columns in excess of that under random signs, in standard deviations."
            ),
            reference="Schott 2005, exact moments over random signs",
        ),
        Metric(
            name="noise_columns",
            unit="count",
            description=(
                "Number of rows (along the longer side) that noise_p_value and noise_z use: a "
                "fixed block where that is conclusive, otherwise all rows that are not "
                "zero."
            ),
            reference="docs/analyzers/noise.md",
            summarised=False,
        ),
        Metric(
            name="exchangeable_p",
            description=(
                "p-value: probability that entries in random order vary as much across "
                "rows, columns, positions and neighbours."
            ),
            reference="exact permutation moments; docs/analyzers/noise.md",
            summarised=False,
        ),
        Metric(
            name="bulk_null",
            description=(
                "Noise model that the bulk is tested against: 'accepted: plain', "
                "'accepted: dyson' … if it is not rejected, or 'rejected' if all are."
            ),
            reference=f"{_MP}; Landa, Zhang, Kluger 2022; Landa, Kluger 2023",
            summarised=False,
        ),
        Metric(
            name="n_ks",
            description=(
                "Number of eigenvalues in the bulk times their distance to the noise "
                "model: the accepted one, or the closest."
            ),
            reference=f"{_MP}; simulated table",
        ),
        Metric(
            name="bulk_p_value",
            description="p-value: probability that a bulk of noise is as far from that noise model.",
            reference="simulated table",
            summarised=False,
        ),
        Metric(
            name="bulk_columns",
            unit="count",
            description=(
                "Number of rows (along the longer side) that n_ks and bulk_p_value use: "
                "a fixed block where it rejects the noise model, otherwise all rows "
                "that are not zero."
            ),
            reference="docs/analyzers/noise.md",
            summarised=False,
        ),
        Metric(
            name="noise_sigma",
            unit="w",
            description=("Standard deviation of the noise entries, assuming that the bulk is plain noise."),
            reference=f"{_MP}; scale from the quantiles from 10 % to 60 %",
        ),
        Metric(
            name="lambda_plus",
            unit="w²",
            description="Upper edge of the bulk, assuming that it is plain noise.",
            reference=_MP,
            summarised=False,
        ),
        Metric(
            name="mp_softrank",
            description=(
                "lambda_plus divided by the largest eigenvalue; above 1 where the "
                "largest lies below the edge."
            ),
            reference="Martin, Mahoney 2021, MP soft rank",
        ),
        Metric(
            name="spikes",
            unit="count",
            description=(
                "Number of eigenvalues above the edge of the accepted noise model; 0 "
                "where the layer is indistinguishable from noise. Where every noise "
                "model is rejected, a lower bound, with its interval."
            ),
            reference="Johnstone 2001; Baik, Ben Arous, Péché 2005; Hong, Sheng, Dobriban 2020",
            summarised=False,
        ),
        Metric(
            name="signal_share",
            description=(
                "Energy of the spikes, corrected for the noise in them, divided by the "
                "total energy that the noise model takes into account."
            ),
            reference="Gavish, Donoho 2017, equation 5",
        ),
    )
    needs = frozenset({"spectrum", "matrix"})
    judges = True
    accuracy = Accuracy.STORED
    Options = NoiseOptions

    def analyze(self, given: LayerInput) -> Analysis:
        """Judge one matrix; layers that pool several, and small or empty ones, have none of the metrics."""
        # here and not above: the list of analyzers is printed without loading torch
        from rmtaudit.analyzers.equalised import equalised, keep_signs
        from rmtaudit.analyzers.signal import (
            PRODUCT,
            find_signal,
            find_small,
            find_sparse,
            initial_by_value,
        )
        from rmtaudit.kernels.noise.floor import noise_floor
        from rmtaudit.kernels.noise.null_tests import NoBulkError
        from rmtaudit.matrices.layers import LayerKind

        if len(given.matrices) != 1:
            return Analysis(self.each_metric(pooled(len(given.matrices))))
        if not given.spectrum.eigenvalues.max() > 0:
            return Analysis(self.each_metric(ZERO_MATRIX))
        if given.layer.kind is LayerKind.ADAPTER:
            return Analysis(self.each_metric(ADAPTER_CORE), signal=PRODUCT)
        matrix = given.matrices[0]
        options = self.options
        known = initial_by_value(given)
        even = equalised(given)
        try:
            floor = noise_floor(
                matrix,
                given.spectrum.eigenvalues,
                generator=given.generator("noise signs"),
                sharp=options.sharp,
                draws=options.draws,
                level=options.level,
                even=even,
            )
        except NoBulkError as error:
            return self._without_floor(error, known or find_small(error.support[1]))
        except ArithmeticError as error:
            return self._without_floor(error, known or find_sparse(given))
        finally:
            if even is not None:
                even.release()
        keep_signs(given, floor.test)
        signal = known or find_signal(given, floor.test, floor.support)
        values = _values(floor, float(given.spectrum.eigenvalues[-1])) | {
            "exchangeable_p": signal.exchangeable
        }
        observations = (*_observations(floor, options, signal.signal), *signal.observations)
        return Analysis(values, observations, signal=signal.signal)

    def _without_floor(self, error: Exception, signal: SignalFound) -> Analysis:
        """Return the analysis of a layer without a noise floor, which may have a signal all the same."""
        values = self.each_metric(skipped(str(error))) | {"exchangeable_p": signal.exchangeable}
        return Analysis(values, signal.observations, signal=signal.signal)


def _values(floor: NoiseFloor, largest: float) -> dict[str, MetricValue | Scalar]:
    values: dict[str, MetricValue | Scalar] = {
        "noise_p_value": floor.test.p_value,
        "noise_z": floor.test.rectangle.z,
        "noise_columns": floor.test.columns,
        "bulk_null": "rejected" if floor.accepted is None else f"accepted: {floor.accepted.name}",
    }
    closest = floor.accepted or _closest(floor)
    empty = failed("half of the eigenvalues are 0, so there is no bulk")
    values["n_ks"] = empty if closest.fit is None else closest.fit.n_ks
    values["bulk_p_value"] = empty if closest.fit is None else closest.p_value
    values["bulk_columns"] = empty if closest.fit is None else closest.columns
    plain = floor.null("plain")
    if plain is None or plain.fit is None:
        values |= dict.fromkeys(("noise_sigma", "lambda_plus", "mp_softrank"), empty)
    else:
        values["noise_sigma"] = math.sqrt(plain.fit.variance)
        values["lambda_plus"] = plain.fit.lambda_plus
        values["mp_softrank"] = plain.fit.lambda_plus / largest
    if floor.accepted is None:
        return values | {"spikes": _at_least(floor), "signal_share": skipped(_REJECTED)}
    return values | {"spikes": len(floor.spikes), "signal_share": floor.signal_share}


def _at_least(floor: NoiseFloor) -> MetricValue:
    if floor.least_spikes is None:
        raise AssertionError("where the bulk is rejected, the number of spikes is a lower bound")
    return MetricValue(value=floor.least_spikes, ci=(floor.least_spikes, floor.support[1]))


def _closest(floor: NoiseFloor) -> NullFit:
    return max(floor.nulls, key=lambda null: (null.fit is not None, null.p_value))


def _observations(floor: NoiseFloor, options: NoiseOptions, signal: Signal) -> list[Observation]:
    from rmtaudit.kernels.signal import SignalWord

    observations = []
    test = floor.test
    random = signal.word in (SignalWord.NOISE_LIKE, SignalWord.INITIAL)
    if random and test.p_value >= options.level:
        evidence: dict[str, Any] = {
            "z": test.rectangle.z,
            "rectangle_p_value": test.rectangle.p_value,
            "level": options.level,
        }
        if test.edge is not None:
            evidence |= {"edge_p_value": test.edge.p_value, "draws": len(test.edge.draws)}
        observations.append(
            Observation(
                code="RA-NF-001",
                message="The layer is indistinguishable from noise: entries of the same magnitudes with "
                f"random signs have as much structure with a probability of {test.p_value:.2g}.",
                evidence=evidence,
                p_value=test.p_value,
            )
        )
    if floor.accepted is None:
        closest = _closest(floor)
        observations.append(
            Observation(
                code="RA-NF-002",
                message=(
                    "The bulk of the spectrum does not follow any noise model that was tried "
                    f"({_names(floor)}). At least {floor.least_spikes} directions stand out "
                    "from independent noise."
                ),
                evidence={
                    "nulls": [_null(null) for null in floor.nulls],
                    "level": options.level,
                    "least_spikes": floor.least_spikes,
                },
                p_value=closest.p_value,
            )
        )
    elif floor.spikes and not random:  # of so many layers of noise some have a spike by chance
        observations.append(_spikes(floor, floor.accepted))
    return observations


def _spikes(floor: NoiseFloor, null: NullFit) -> Observation:
    number = len(floor.spikes)
    noun = "direction stands" if number == 1 else "directions stand"
    listed = [
        {
            "ratio": spike.eigenvalue / null.fit.lambda_plus if null.fit else None,
            "strength": spike.shape.strength,
            "cosine2_short": spike.shape.cosine2_short,
            "cosine2_long": spike.shape.cosine2_long,
            "p_value": spike.p_value,
        }
        for spike in floor.spikes[:_LISTED]
    ]
    return Observation(
        code="RA-NF-004",
        message=(
            f"{number} {noun} above a bulk of noise (noise model: {null.name}), with "
            f"{floor.signal_share:.1%} of the energy."
        ),
        evidence={
            "null": _null(null),
            "spikes": listed,
            "listed": len(listed),
            "signal_share": floor.signal_share,
        },
        p_value=floor.spikes[0].p_value,
    )


def _names(floor: NoiseFloor) -> str:
    return ", ".join(null.name for null in floor.nulls)


def _null(null: NullFit) -> Mapping[str, Any]:
    if null.fit is None:
        return {"name": null.name, "p_value": null.p_value, "n_ks": None}
    return {
        "name": null.name,
        "p_value": null.p_value,
        "n_ks": null.fit.n_ks,
        "ks_distance": null.fit.ks_distance,
        "columns": null.columns,
    }
