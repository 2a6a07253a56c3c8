"""The contract of an analyzer: from a layer's matrices and spectrum to named metrics.

Analyzers are classes in the entry-point group ``rmtaudit.analyzers``; built-ins and third parties register
the same way. :class:`AnalyzerContract` in ``rmtaudit.plugins`` is the test that each must pass.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from rmtaudit.kernels.spectra.accuracy import Accuracy

if TYPE_CHECKING:
    import torch

    from rmtaudit.finding_kind import FindingKind
    from rmtaudit.kernels.signal import Signal
    from rmtaudit.kernels.spectra.spectrum import Spectrum
    from rmtaudit.matrices.layers import Layer

Need = Literal["spectrum", "matrix"]
Status = Literal["ok", "skipped", "failed"]
Better = Literal["higher", "lower"]
Scalar = float | int | str | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What an analyzer promises under one name.

    Attributes
    ----------
    name
        The key in the report; a standard term of the field.
    unit
        ``""`` for dimensionless, ``"w²"`` for eigenvalues (squared weight units), ``"log10 w²"``,
        ``"count"`` …
    better
        Which direction practice takes for better trained, where there is one; ``None`` where there is not.
    description
        One sentence.
    reference
        Paper and equation, or the peer whose number it reproduces.
    summarised
        Whether the model's summary averages it over the layers.
    """

    name: str
    unit: str = ""
    better: Better | None = None
    description: str
    reference: str
    summarised: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """A value with its uncertainty, or the reason why there is none.

    ``value is None`` if and only if ``status`` is not ``"ok"``, and then ``reason`` says why.
    """

    value: Scalar | None
    se: float | None = None
    ci: tuple[float, float] | None = None
    status: Status = "ok"
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) != (self.status != "ok") or (self.value is None) != bool(self.reason):
            raise ValueError(f"a value and status 'ok', or neither and a reason: {self!r}")


def skipped(reason: str) -> MetricValue:
    """Return the value of a metric that does not apply here."""
    return MetricValue(value=None, status="skipped", reason=reason)


def failed(reason: str) -> MetricValue:
    """Return the value of a metric that should exist here but could not be computed."""
    return MetricValue(value=None, status="failed", reason=reason)


def pooled(matrices: int) -> MetricValue:
    """Return the value of a metric of one matrix, on a row that pools several."""
    return skipped(f"the row pools {matrices} matrices; scan them separately")


ZERO_MATRIX = failed("the matrix is zero")
"""The value of a metric that a zero matrix does not have."""

ADAPTER_CORE = skipped("the core of a low-rank adapter is a product, not a weight matrix")
"""The value of tests of entries, and of laws of matrices of independent entries, for an adapter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Something seen in a layer that a judge may make a finding of.

    An analyzer says what it saw and how surprising it is; the severity is the judge's, who sees the p-values
    of all layers of the model.

    Attributes
    ----------
    code
        The stable code of the catalogue of findings: ``RA-NF-001``, ``RA-FO-003`` …
    message
        One sentence that a practitioner understands, with the numbers.
    evidence
        JSON values that let a reader check it: positions, counts, levels, thresholds.
    p_value
        Of the test behind it, for this layer alone; ``None`` for a fact about the bytes.
    severity
        Of this fact, where a kind of finding may be harmless or not: never more severe than the catalogue
        allows. ``None``: as the catalogue says.
    """

    code: str
    message: str
    evidence: Mapping[str, Any]
    p_value: float | None = None
    severity: Literal["info", "warning", "error"] | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """What an analyzer returns that observes as well as measures.

    ``remark`` is a clause for the reason of the row: what was found without a spectrum, or a caution.
    ``signal`` is what the weights say about learning, from the one analyzer that judges it.
    """

    values: Mapping[str, MetricValue | Scalar]
    observations: tuple[Observation, ...] = ()
    remark: str = ""
    signal: Signal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInput:
    """What an analyzer is given of one layer.

    Attributes
    ----------
    layer
        Name, kind, shape, view and number of matrices.
    spectrum
        The eigenvalues (pooled over the matrices of the layer; ``spectrum.parts`` has them apart); none at
        all (``method`` is ``unknown``) for analyzers that do not need ``"spectrum"``, where no other does.
    matrices
        The matrices themselves, 2-D, on the scan's device, in their stored floating dtype (upcast below
        float32); empty unless the analyzer needs ``"matrix"``.
    epsilon
        Unit round-off of the dtype the layer was stored in.
    seed
        Seed of the scan.
    shared
        What analyzers of this layer compute for each other; kept until the last of them is done.
    """

    layer: Layer
    spectrum: Spectrum
    matrices: tuple[torch.Tensor, ...] = ()
    epsilon: float = 2.0**-53
    seed: int = 0
    shared: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    def generator(self, purpose: str) -> torch.Generator:
        """Return a CPU generator fixed by the scan's seed, the layer's name and ``purpose`` alone.

        So the numbers do not depend on the order or the number of threads.
        """
        import torch

        text = f"{self.seed}\0{purpose}\0{self.layer.name}".encode(errors="surrogatepass")
        number = int.from_bytes(hashlib.sha256(text).digest()[:8], "little", signed=False) >> 1
        return torch.Generator().manual_seed(number)


class Analyzer(ABC):
    """One analyzer. Stateless but for its frozen options; threads share it."""

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    findings: ClassVar[tuple[FindingKind, ...]] = ()
    """The kinds of findings whose codes it observes, where it is of another distribution.

    They are explained by ``rmtaudit explain``. An observation with any other code is information.
    """
    needs: ClassVar[frozenset[Need]] = frozenset({"spectrum"})
    accuracy: ClassVar[Accuracy] = Accuracy.FULL
    """How exact it needs the eigenvalues, if it needs them.

    Float32 arithmetic may do for a layer in half precision, where every analyzer that runs is content with
    less than ``FULL``.
    """
    stands_in: ClassVar[bool] = False
    """Whether it stands in for a spectrum that is beyond the memory budget, and needs none.

    It analyses such layers alone; others cost nothing, and their rows have no value of its metrics. A scan
    with one computes spectra as far as the budget allows.
    """
    judges: ClassVar[bool] = False
    """Whether it says what a layer is worth. A scan with one that does leaves constants of the
    architecture out:
    masks, position tables and the like, recognised by value, are listed with their name and not analysed."""
    Options: ClassVar[type[Any]]
    """A frozen dataclass whose defaults are the default preset's."""

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options

    def active_metrics(self) -> tuple[Metric, ...]:
        """Return the metrics that these options ask for: the ones that :meth:`analyze` returns."""
        return self.metrics

    def each_metric(self, value: MetricValue) -> dict[str, MetricValue]:
        """Return one value, mostly the reason why there is none, for every active metric."""
        return {metric.name: value for metric in self.active_metrics()}

    def working_bytes(self, rows: int, cols: int) -> int:
        """Return about how many bytes it takes in addition to the matrices of a layer, for the budget.

        Asked only of analyzers that need no spectrum: they also see layers whose spectrum is beyond it.
        """
        del rows, cols
        return 0

    @abstractmethod
    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | Scalar] | Analysis:
        """Return a value for each of :meth:`active_metrics`; a bare scalar is one with no uncertainty.

        Raise only where the analyzer itself is at fault: the engine records the layer's metrics as
        ``failed`` with the message and goes on. A float that is not finite is recorded as ``failed``.
        """


@dataclass(frozen=True, slots=True)
class NoOptions:
    """The options of an analyzer that has none."""
