"""The document of a probe: its classes and its schema. A field of a class is a key of its document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rmtaudit.report.derivations import Document, SeededVersion, Shape, Share
from rmtaudit.report.layer import Part
from rmtaudit.report.plain import Count, Number


class ProbeHeader(Part, frozen=True):
    """The schema that the document follows."""

    name: Literal["rmtaudit.probe"] = "rmtaudit.probe"
    version: Literal["1.0"] = "1.0"


class ProbeSubject(Part, frozen=True):
    """The network."""

    model: str
    origin: str
    digest: str
    dtype: str
    device: str


class ProbeInputs(Part, frozen=True):
    """What the network was run on."""

    description: str
    samples: Count
    generated: bool
    digest: str


class ProbeMeasure(Part, frozen=True):
    """How the outputs before and after a change were compared."""

    loss: Literal["kl", "cosine", "error"]
    description: str


class ProbeNoise(Part, frozen=True):
    """The random changes of each layer."""

    relative_size: Number
    draws: Count


class ProbePatterns(Part, frozen=True):
    """The patterns that choose the layers that are probed, and edited; none: all layers."""

    include: Sequence[str]
    exclude: Sequence[str]


class ProbeEstimate(Part, frozen=True):
    """A mean over samples, and its standard error: null for a single sample."""

    value: Number
    se: Number | None


class ProbedLayer(Part, frozen=True):
    """What changing one weight does to the output."""

    name: str
    kind: Annotated[
        str, Meta(description=("Name of the layer, with an asterisk for each number of a block."))
    ]
    shape: Shape
    matrices: Count
    parameters: Count
    sensitivity: Annotated[
        ProbeEstimate | None,
        Meta(
            description=(
                "Change of the output under noise, divided by the square of the noise's relative size."
            )
        ),
    ]
    relative_error: Annotated[
        Number | None, Meta(description="Frobenius norm of the edit divided by that of the weight.")
    ]
    harm: Annotated[ProbeEstimate | None, Meta(description="Change of the output under the edit.")]
    second_order: Annotated[
        Number | None, Meta(description="Sensitivity times the square of the relative error.")
    ]
    kind_harm: Annotated[
        Number | None,
        Meta(description="Mean harm of the other layers of this kind; null where there are none."),
    ]
    finite: Annotated[bool, Meta(description="Whether every output was finite. Where not, numbers are null.")]


class ProbeAdvice(Part, frozen=True):
    """All edits at once, and all but those of the few layers that carry half of the harm."""

    every: Annotated[Number | None, Meta(description="Measured harm of all edits; null: not finite.")]
    total: Annotated[Number, Meta(description="Sum of the harms of the single edits.")]
    keep: Annotated[
        Sequence[str], Meta(description=("Layers to exempt from the edit; empty: no small group stands out."))
    ]
    share: Annotated[Share, Meta(description="Share of the edited parameters that these layers hold.")]
    others: Annotated[Number | None, Meta(description="Measured harm of the edits of all other layers.")]


class ProbeWarning(Part, frozen=True):
    """Something that does not stop a probe."""

    code: str
    message: str


class ProbeRun(Part, frozen=True):
    """What it took; differs from run to run."""

    wall_seconds: Number
    cpu_seconds: Number
    threads: Count


class Probe(Document, frozen=True):
    """What noise and an edit of each layer do to the output, the most harmful layer first."""

    schema: ProbeHeader
    tool: SeededVersion
    subject: ProbeSubject
    inputs: ProbeInputs
    measure: ProbeMeasure
    noise: ProbeNoise
    edit: Annotated[
        Mapping[str, Any] | None,
        Meta(description="Its kind, and the settings of that kind; null: noise alone."),
    ]
    patterns: ProbePatterns
    layers: Sequence[ProbedLayer]
    advice: ProbeAdvice | None
    warnings: Sequence[ProbeWarning]
    run: ProbeRun


def probe_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the document."""
    (reference,), parts = msgspec.json.schema_components([Probe], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:rmtaudit:probe:1.0",
        "title": "rmtaudit.probe",
        **reference,
        "$defs": msgspec.json.decode(msgspec.json.encode(parts)),
    }
