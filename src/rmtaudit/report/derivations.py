"""The documents about where models come from, and about what an edit would do: their classes and schemas.

A field of a class is a key of its document, in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rmtaudit.report.layer import Part
from rmtaudit.report.plain import Count, Number, plain

Share = Annotated[float, Meta(ge=0, le=1)]
Shape = Sequence[Count]


class Document(Part, frozen=True):
    """A document of strict JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, keys in published order.

        Raises
        ------
        ValueError
            If a number is not finite.
        """
        document: dict[str, Any] = plain(self)
        return document


class Version(Part, frozen=True):
    """What made the document."""

    version: str


class SeededVersion(Part, frozen=True):
    """What made the document, and the seed of what was drawn."""

    version: str
    seed: int


# rmtaudit.lineage


class LineageHeader(Part, frozen=True):
    """The schema that the document follows."""

    name: Literal["rmtaudit.lineage"] = "rmtaudit.lineage"
    version: Literal["1.0"] = "1.0"


class LineageSubject(Part, frozen=True):
    """What was compared."""

    path: str
    models: Count
    unread: Count


class LineageLevel(Part, frozen=True):
    """The level of one pair, that of all together, and the number of pairs."""

    pair: Number
    family: Number
    pairs: Count


class LineageModel(Part, frozen=True):
    """One model."""

    name: str
    format: str
    parameters: Count
    bits: Annotated[Number, Meta(description="Mean number of stored bits per parameter.")]
    digest: str
    family: Annotated[str, Meta(description="Name of the first model of its family.")]


class UnreadModel(Part, frozen=True):
    """A file that could not be read."""

    name: str
    code: str
    message: str


class RelationEvidence(Part, frozen=True):
    """The numbers of a relation test."""

    relative_change: Number | None
    layers: Annotated[Count, Meta(description="Number of corresponding layers.")]
    sampled: bool
    p_value: Number | None
    cosine: Number | None
    detectable_cosine: Number | None
    tested: Count
    identical: Count
    matched_cosine: Number | None
    obstacle: str | None


class LineagePair(Part, frozen=True):
    """The relation of two models."""

    first: str
    second: str
    kind: Annotated[str, Meta(description="See docs/lineage.md. Later versions may add kinds.")]
    related: bool
    tree: Annotated[bool, Meta(description="Whether it is an edge of the tree.")]
    source: str | None
    evidence: RelationEvidence | None


class Lineage(Document, frozen=True):
    """The relations of several models."""

    schema: LineageHeader
    tool: SeededVersion
    subject: LineageSubject
    level: LineageLevel
    models: Sequence[LineageModel]
    unread: Sequence[UnreadModel]
    counts: Annotated[Mapping[str, Count], Meta(description="Number of pairs of each kind.")]
    pairs: Sequence[LineagePair]


# rmtaudit.merge


class MergeHeader(Part, frozen=True):
    """The schema that the document follows."""

    name: Literal["rmtaudit.merge"] = "rmtaudit.merge"
    version: Literal["1.0"] = "1.0"


class FittedCoefficient(Part, frozen=True):
    """A coefficient with its standard error and its 95 % interval."""

    value: Number
    se: Number
    ci: tuple[Number, Number]
    p_value: Annotated[Number, Meta(description="p-value of the hypothesis that it is 0.")]


class MergeParent(Part, frozen=True):
    """A candidate parent."""

    path: str
    coefficient: FittedCoefficient | None


class MergeLayer(Part, frozen=True):
    """What the coefficients leave of one layer."""

    name: str
    change: Annotated[Number, Meta(description="Relative to the norm of the base.")]
    residual: Annotated[Number, Meta(description="Share of the squared change.")]
    excess: Annotated[Number | None, Meta(description="Mean squared residual divided by that of rounding.")]


class Merge(Document, frozen=True):
    """What a merged model is made of."""

    schema: MergeHeader
    tool: Version
    target: str
    base: str
    kind: Annotated[str | None, Meta(description="See docs/lineage.md. Later versions may add kinds.")]
    sentence: str
    parents: Sequence[MergeParent]
    sum: FittedCoefficient | None
    r_squared: Number | None
    excess: Number | None
    unchanged: tuple[Number, Number] | None
    rejected: Number | None
    slope: Number | None
    spread: Number | None
    fractions: tuple[Number, Number] | None
    layers: Sequence[MergeLayer]
    left_out: Sequence[str]


# rmtaudit.claim


class ClaimHeader(Part, frozen=True):
    """The schema that the document follows."""

    name: Literal["rmtaudit.claim"] = "rmtaudit.claim"
    version: Literal["1.0"] = "1.0"


ClaimWord = Literal["consistent", "inconsistent", "cannot be told"]


class ClaimTensor(Part, frozen=True):
    """The answer about one tensor."""

    name: str
    answer: ClaimWord
    ground: Annotated[str, Meta(description=("What the answer rests on. Later versions may add grounds."))]
    reason: str
    parameters: Count
    numbers: Annotated[Mapping[str, Any], Meta(description="They depend on the ground.")]


class ClaimResult(Document, frozen=True):
    """Whether a candidate is what it is claimed to be."""

    schema: ClaimHeader
    tool: Version
    claim: str
    base: str
    candidate: str
    answer: ClaimWord
    word: str | None
    sentence: str
    tensors: Sequence[ClaimTensor]


# rmtaudit.whatif


class WhatifHeader(Part, frozen=True):
    """The schema that the document follows."""

    name: Literal["rmtaudit.whatif"] = "rmtaudit.whatif"
    version: Literal["1.0"] = "1.0"


class WhatifSubject(Part, frozen=True):
    """The checkpoint."""

    path: str
    format: str


class EditedLayer(Part, frozen=True):
    """How far the edit takes one weight matrix."""

    name: str
    shape: Shape
    parameters: Count
    relative_error: Number
    spectral_error: Number
    kept: Annotated[
        Number, Meta(description=("Share of singular directions that stand out from the change."))
    ]


class Whatif(Document, frozen=True):
    """What an edit would do to a checkpoint, the layer that it changes most first."""

    schema: WhatifHeader
    tool: Version
    subject: WhatifSubject
    edit: Annotated[Mapping[str, Any], Meta(description="Its kind, and the settings of that kind.")]
    layers: Sequence[EditedLayer]
    left_out: Sequence[str]


# rmtaudit.extraction


class ExtractionHeader(Part, frozen=True):
    """The schema that the document follows."""

    name: Literal["rmtaudit.extraction"] = "rmtaudit.extraction"
    version: Literal["1.0"] = "1.0"


class ModuleUpdate(Part, frozen=True):
    """The update of one module."""

    module: str
    shape: Shape
    rank: Count
    resolved: Annotated[
        Count, Meta(description=("Number of singular values above the rounding of the storage."))
    ]
    relative_change: Number
    relative_error: Number


class AdapterExtraction(Document, frozen=True):
    """A fine-tune as a low-rank adapter, and what the adapter leaves out."""

    schema: ExtractionHeader
    tool: Version
    base: str
    candidate: str
    adapter: str
    parameters: Count
    unchanged: Count
    left_out: Sequence[str]
    updates: Sequence[ModuleUpdate]


DERIVATIONS: Mapping[str, type[Document]] = {
    "lineage": Lineage,
    "merge": Merge,
    "claim": ClaimResult,
    "whatif": Whatif,
    "extraction": AdapterExtraction,
}
"""The documents by the names that ``rmtaudit config schema`` takes."""


def derivation_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a document of :data:`DERIVATIONS`."""
    (reference,), parts = msgspec.json.schema_components([DERIVATIONS[name]], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:rmtaudit:{name}:1.0",
        "title": f"rmtaudit.{name}",
        **reference,
        "$defs": msgspec.json.decode(msgspec.json.encode(parts)),
    }
