"""The texts of a row in a table, the same in the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from rmtaudit.finding_kind import SEVERITIES
from rmtaudit.kernels.signal import SignalWord
from rmtaudit.matrices.skips import label_of
from rmtaudit.names import display_name
from rmtaudit.report.columns import PROPERTIES
from rmtaudit.report.model import LayerResult, Report
from rmtaudit.report.numbers import format_metric, human_count
from rmtaudit.report.phrases import phrase
from rmtaudit.report.strips import compared
from rmtaudit.report.verdict import Integrity

_ALPHA, _RANGE = "alpha", ("alpha_low", "alpha_high")
_KNOWN = {
    "alpha": "exponent of the power law that fits the tail of the spectrum",
    "vs_noise": "alpha divided by alpha of noise of this shape: near 1, like noise",
    "alpha_null": "alpha of noise of this shape",
    "tail_size": "number of eigenvalues in that tail",
    "spikes": "number of eigenvalues above the noise; ≥: a lower bound",
    "stable_rank": "squared norm divided by the largest eigenvalue",
    "log10_spectral_norm": "log10 of the largest singular value",
    "ks_distance": "distance between the tail and the power law",
    "xmin": "eigenvalue at which the tail starts",
    "phase": "phase of training",
    "kappa_full": "kappa of the HTMP law fitted to the whole spectrum",
}
_INTERVAL = "; [low–high]: interval that includes the uncertainty in xmin"
_NEAR_BEST = "; [low–high]: range over tails that fit as well"


def cell(report: Report, layer: LayerResult, name: str) -> str:
    """Return the text of a column between the name and the finding: a metric, or a property of the layer."""
    if name in report.metrics:
        return metric_cell(layer, name)
    if name == "shape":
        return shape_cell(layer)
    if name == "signal":
        return signal_cell(layer)
    if name == "integrity":
        return display_name(layer.integrity.word)
    if name == "parameters":
        return human_count(layer.parameters)
    return display_name(str(getattr(layer, name)))


def head(report: Report, rows: Iterable[LayerResult], name: str) -> str:
    """Return the head of a column, which is its key; ``alpha [low–high]`` where a row has the interval."""
    with_interval = name in report.metrics and any(has_interval(row, name) for row in rows)
    return f"{display_name(name)} [low–high]" if with_interval else display_name(name)


def metric_cell(layer: LayerResult, name: str) -> str:
    """Return a number with few digits; alpha with its interval, or the range of tails that fit as well.

    A standard error is never shown with alpha: that of a known tail is too small.
    """
    result = None if layer.status == "failed" else layer.metrics.get(name)
    if name == "vs_noise":
        ratio = compared(layer, name)
        return f"{ratio:.2f}" if ratio is not None else format_metric(result, with_se=False)
    if name != _ALPHA or result is None or result.value is None:
        return format_metric(result, with_se=False)
    interval = result.ci or _near_best(layer)
    if interval is None:
        return format_metric(result, with_se=False)
    return format_metric(replace(result, ci=interval, se=0.0), with_se=True)


def has_interval(layer: LayerResult, name: str) -> bool:
    """Whether the cell of a metric shows an interval."""
    return name == _ALPHA and "[" in metric_cell(layer, name)


def explained(report: Report, name: str) -> str:
    """Return what a column means, in a few words."""
    words = _KNOWN.get(name)
    if words is None and name not in report.metrics:
        return PROPERTIES[name]
    if words is None:
        words = display_name(report.metrics[name].description).rstrip(".")
    if name == _ALPHA:
        results = [layer.metrics.get(name) for layer in report.layers]
        if any(result is not None and result.ci is not None for result in results):
            return words + _INTERVAL
        if any(_near_best(layer) is not None for layer in report.layers):
            return words + _NEAR_BEST
    return words


def shape_cell(layer: LayerResult) -> str:
    """Return the shape; ``9·(64×32)`` for several matrices."""
    shape = "×".join(str(size) for size in layer.shape)
    return f"{layer.matrices}·({shape})" if layer.matrices > 1 else shape


def signal_cell(layer: LayerResult) -> str:
    """Return the signal with what specifies it, but for the reason why there is none."""
    unjudged = layer.signal.word == SignalWord.UNJUDGED
    return display_name(str(SignalWord.UNJUDGED) if unjudged else layer.signal.text)


def finding_cell(layer: LayerResult, label: Callable[[str], str] = str, *, whole: bool = False) -> str:
    """Return the warnings and errors of a layer in words, with their codes; else why it has no numbers.

    ``whole`` adds the reason, or the remark, as a sentence. ``label`` is that of :func:`.phrases.phrase`.
    """
    loud = [finding for finding in layer.findings if finding.severity != "info"]
    loud.sort(key=lambda finding: -SEVERITIES.index(finding.severity))
    if loud:
        words = [f"{phrase(finding, label)} {display_name(finding.code)}" for finding in loud]
        return "; ".join([*words, *[display_name(layer.reason)] * (whole and bool(layer.reason))])
    reason = layer.reason if whole else label_of(layer.skip, layer.reason)
    if layer.status == "ok":
        return display_name(reason) if whole else ""
    return display_name(f"{layer.status}: {reason}")


def is_shown_as(layer: LayerResult) -> Integrity | None:
    """Return the integrity whose mark a row has; unjudged for a layer that failed; ``None`` for no mark."""
    if layer.integrity.word in (Integrity.DAMAGED, Integrity.WARNING):
        return Integrity(layer.integrity.word)
    return Integrity.UNJUDGED if layer.status == "failed" else None


def _near_best(layer: LayerResult) -> tuple[float, float] | None:
    low, high = (layer.number(name) for name in _RANGE)
    return (low, high) if low is not None and high is not None else None
