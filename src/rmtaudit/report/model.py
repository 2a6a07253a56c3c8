"""The report of a scan: the one set of classes that its document is read, written and described by.

A field of a class is a key of the document, in the same order. Its type is what the reader accepts and what
the published JSON Schema says (:mod:`rmtaudit.report.schema`). Every key is always written but
``verification``, which only some reports have; the other defaults are for reports of earlier versions, which
lack the key (:mod:`rmtaudit.report.upgrade`). The parts that later versions may extend are typed
dictionaries, and keep the keys that this version does not know; all other parts are closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from rmtaudit.report.frame import data_frame
from rmtaudit.report.layer import (
    IDENTITY as IDENTITY,
)
from rmtaudit.report.layer import (
    Finding as Finding,
)
from rmtaudit.report.layer import (
    IntegrityVerdict,
    JointText,
    Judgement,
    NonNegative,
    Part,
    SignalVerdict,
    SkipName,
    Words,
)
from rmtaudit.report.layer import (
    LayerFinding as LayerFinding,
)
from rmtaudit.report.layer import (
    LayerResult as LayerResult,
)
from rmtaudit.report.layer import (
    MetricResult as MetricResult,
)
from rmtaudit.report.layer import (
    Status as Status,
)
from rmtaudit.report.layer import (
    StoredEncoding as StoredEncoding,
)
from rmtaudit.report.plain import Count, Number, plain
from rmtaudit.report.provenance import Subject, Tool
from rmtaudit.report.second_opinion import Verification
from rmtaudit.report.verdict import UNJUDGED, UNREAD

if TYPE_CHECKING:
    import pandas as pd

    from rmtaudit.report.plots.drawing import Drawing

Better = Literal["higher", "lower"]
Detail = Literal["full", "summary"]


class SchemaHeader(Part, frozen=True):
    """The schema that the document follows."""

    name: Literal["rmtaudit.report"]
    version: Literal["1.0", "1.1"]


HEADER = SchemaHeader(name="rmtaudit.report", version="1.1")
"""What is written. 1.1 adds keys to 1.0; a report of 1.0 is read as one of 1.1 that lacks them."""


class SkippedTensor(Part, frozen=True, kw_only=True):
    """A tensor that no row of ``layers`` analyses."""

    name: str
    shape: tuple[Count, ...]
    dtype: str
    reason: Words
    skip: SkipName = None


class Coverage(Part, frozen=True):
    """What was analysed, and what was not."""

    tensors: Count
    parameters: Annotated[
        Count, Meta(description=("Number of elements of all tensors; tied tensors count once."))
    ]
    weight_parameters: Annotated[
        Count, Meta(description="Number of elements in weight matrices, analysed or not.")
    ]
    parameters_analyzed: Annotated[Count, Meta(description="Number of elements in layers with status ok.")]
    fraction: Annotated[
        NonNegative, Meta(description="parameters_analyzed / parameters; 0 for an empty checkpoint.")
    ]
    skipped: tuple[SkippedTensor, ...]


class SummaryValue(Part, frozen=True):
    """A metric over the layers that have it."""

    value: Annotated[Number | None, Meta(description="Mean over the layers that have the metric.")]
    median: Number | None
    n: Count
    n_failed: Count
    n_skipped: Count


class MetricEntry(Part, frozen=True):
    """What is known of a metric."""

    analyzer: str
    unit: Annotated[
        str,
        Meta(
            description=(
                "Unit: `w` is that of the weights, `w²` its square; empty for a pure number or a word."
            )
        ),
    ]
    better: Better | None
    description: str
    reference: str


class StoppedBy(Part, frozen=True):
    """The error that stopped a scan."""

    code: str
    message: str
    hint: str
    where: str


class Report(Part, frozen=True, kw_only=True):
    """The scan of one subject."""

    schema: SchemaHeader
    detail: Annotated[
        Detail, Meta(description="`summary`: the metrics of the table alone, no spectra and no evidence.")
    ] = "full"
    tool: Tool
    subject: Subject
    metrics: Annotated[
        Mapping[str, MetricEntry], Meta(description="The metrics of this scan, in column order.")
    ]
    coverage: Coverage
    layers: tuple[LayerResult, ...]
    summary: Mapping[str, SummaryValue]
    integrity: IntegrityVerdict = UNREAD
    signal: SignalVerdict = UNJUDGED
    verdict: JointText
    judgement: Judgement = UNJUDGED
    findings: Annotated[
        tuple[LayerFinding, ...],
        Meta(description=("Findings of all layers: errors first, then warnings, each in stored order.")),
    ]
    causes: Annotated[
        tuple[Finding, ...],
        Meta(
            description=(
                "The same findings, with one entry for each cause: `evidence` has the "
                "`codes` and the `layers`."
            )
        ),
    ] = ()
    complete: Annotated[bool, Meta(description="False for a scan that was stopped.")]
    error: Annotated[StoppedBy | None, Meta(description="What stopped it, if that was an error.")]
    timings: Annotated[
        Mapping[str, NonNegative],
        Meta(description="Seconds, and the number of threads. The only part that differs between two runs."),
    ]
    verification: Verification | None = None

    def __getitem__(self, name: str) -> LayerResult:
        """Return the layer of that name; raises ``KeyError`` with the nearest name where there is none."""
        from rmtaudit.report.lookup import layer_of

        return layer_of(self.layers, name)

    def __contains__(self, name: object) -> bool:
        return any(layer.name == name for layer in self.layers)

    def __iter__(self) -> Iterator[LayerResult]:
        """Iterate over the layers, in stored order."""
        return iter(self.layers)

    def __repr__(self) -> str:
        from rmtaudit.report.glance import report_text

        return report_text(self)

    def _repr_html_(self) -> str:
        from rmtaudit.report.html import report_html

        return report_html(self)

    def failing(self, fail_on: str = "error") -> tuple[LayerFinding, ...]:
        """Return the findings on which ``rmtaudit scan --fail-on`` would fail, as :attr:`findings` has them.

        ``fail_on`` is ``error``, ``warning`` (or worse), codes with commas, or ``never``. Raises
        ``UsageError``: RA-US-110 or RA-US-112 for a wrong text, RA-US-113 for a code that the scan
        never raises.
        """
        from rmtaudit.report.failing import parse_fail_on, require_analyzers

        condition = parse_fail_on(fail_on)
        require_analyzers(condition, self.tool["analyzers"])
        return tuple(finding for finding in self.findings if condition.applies_to(finding))

    def save(self, path: str | Path, *, detail: Detail = "full") -> None:
        """Write the report in the format of the ending: ``.json``, ``.jsonl``, ``.csv``, ``.md``, ``.html``.

        ``detail="summary"`` writes JSON in the compact form for large models. Raises ``UsageError``
        (RA-US-002) for another ending and ``OutputError`` (RA-OU-003) where it cannot be written.
        """
        from rmtaudit.report.detail import with_detail
        from rmtaudit.report.files import save_report

        save_report(with_detail(self, detail), path)

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """Return the report of a JSON file of one subject.

        Raises ``InputError``: RA-RP-001 to RA-RP-006. :func:`rmtaudit.load_reports` reads files of several.
        """
        from rmtaudit.report.files import load_report

        return load_report(path)

    def plot(self) -> Drawing:
        """Return a figure of ``alpha``, ``kappa`` and ``phase`` along the layers, which a notebook shows.

        Its ``save`` writes SVG, and PNG with ``rmtaudit[plots]``. Raises ``UsageError`` (RA-US-305) where no
        layer has such a metric.
        """
        from rmtaudit.report.plots.drawing import report_drawing

        return report_drawing(self)

    def to_dict(self, *, detail: Detail = "full") -> dict[str, Any]:
        """Return the document: plain dicts, lists and scalars, keys in the published order.

        ``detail="summary"`` leaves out what a table does not show.

        Raises ``ValueError`` for a float that is not finite and ``TypeError`` for a value that JSON has no
        form for, naming its place: both are faults of whoever built the report.
        """
        from rmtaudit.report.detail import with_detail

        document: dict[str, Any] = plain(with_detail(self, detail))
        if self.verification is None:
            del document["verification"]
        return document

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a layer, in the report's order: identity columns, then one column a metric.

        A metric without a value is ``None`` (``NaN`` in a column of numbers); names are as they are stored.
        Raises ``UsageError`` (RA-US-301) where pandas is not installed.
        """
        names = metric_names([self])
        rows = [[*layer.identity(), *map(layer.value, names)] for layer in self.layers]
        return data_frame(rows, [*IDENTITY, *names])


class FailedPath(Part, frozen=True):
    """The path of a subject that could not be scanned."""

    path: str


class FailedBy(Part, frozen=True):
    """Why a subject could not be scanned."""

    code: Annotated[str, Meta(pattern="^RA-")]
    message: str
    hint: str


class FailedSubject(Part, frozen=True):
    """A subject that could not be scanned, in its place among several."""

    schema: SchemaHeader
    subject: FailedPath
    error: FailedBy

    def to_dict(self) -> dict[str, Any]:
        """Return the document."""
        document: dict[str, Any] = plain(self)
        return document


Result = Report | FailedSubject
"""What came of one subject."""


def failed_subject(path: str, code: str, message: str, hint: str) -> FailedSubject:
    """Return the entry of a subject that could not be scanned."""
    return FailedSubject(
        schema=HEADER,
        subject=FailedPath(path=path),
        error=FailedBy(code=code, message=message, hint=hint),
    )


def metric_names(reports: Sequence[Report]) -> list[str]:
    """Return the metrics of the reports, each once, in the order of the catalogue, then of appearance."""
    names: dict[str, None] = {}
    for report in reports:
        names |= dict.fromkeys(report.metrics)
        for layer in report.layers:
            names |= dict.fromkeys(layer.metrics)
    return list(names)
