"""The audit of a model zoo: the classes that its document is written, read and described by.

A field of a class is a key of the document ``rmtaudit.zoo``, in the same order. Everything but ``run`` is the
same for the same files and settings, however many workers there were and in whatever order they finished.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rmtaudit.errors import CorruptError
from rmtaudit.names import display_name
from rmtaudit.report.layer import IntegrityVerdict, NonNegative, Part, SignalVerdict
from rmtaudit.report.plain import Count, Number, plain
from rmtaudit.report.provenance import Tool
from rmtaudit.report.strict_json import parse_json

SCHEMA_NAME = "rmtaudit.zoo"
ModelStatus = Literal["ok", "inconclusive", "failed"]


class ZooHeader(Part, frozen=True):
    """The schema that the document follows."""

    name: Literal["rmtaudit.zoo"]
    version: Literal["1.0"]


ZOO_HEADER = ZooHeader(name="rmtaudit.zoo", version="1.0")


class Quality(Part, frozen=True):
    """A measured quality of a model, from the manifest."""

    value: Number
    higher_is_better: bool


class ModelMetric(Part, frozen=True):
    """A metric over the layers of a model that have it."""

    value: Annotated[Number | None, Meta(description="Mean over these layers.")]
    median: Number | None
    se: Annotated[
        Number | None,
        Meta(
            description="Standard error of the mean that follows from those of the layers, taken as "
            "independent; null where a layer has none."
        ),
    ]
    ci: Annotated[tuple[Number, Number] | None, Meta(description="value ± 1.96 se.")]
    n: Count
    n_failed: Count
    n_skipped: Count


class ModelError(Part, frozen=True):
    """Why a model could not be audited."""

    code: Annotated[str, Meta(pattern="^RA-")]
    message: str
    hint: str


class ZooModel(Part, frozen=True, kw_only=True):
    """One model. What is only known of models that were audited is null in the others."""

    name: Annotated[str, Meta(description=("Name, unique in the zoo. Untrusted text, as every path is."))]
    path: str
    family: Annotated[str, Meta(description="Family from the manifest; empty where none is given.")]
    status: Annotated[
        ModelStatus,
        Meta(
            description="`inconclusive`: read, but no weight matrix could be analysed; `failed`: see `error`."
        ),
    ]
    error: ModelError | None
    record: Annotated[
        str | None, Meta(description="The file of the report, relative to the store of the zoo.")
    ]
    digest: Annotated[
        str | None, Meta(description="Digest of names, shapes, dtypes and values of all tensors.")
    ]
    format: str | None
    parameters: Count | None
    bytes: Count | None
    dtypes: Mapping[str, Count]
    layers: Annotated[Count | None, Meta(description="Number of layers that were analysed.")]
    coverage: Annotated[NonNegative | None, Meta(description="Share of the parameters that was analysed.")]
    integrity: IntegrityVerdict | None
    signal: SignalVerdict | None
    findings: Annotated[
        Mapping[str, Count], Meta(description=("Number of findings of each code, errors and warnings only."))
    ]
    metrics: Annotated[
        Mapping[str, ModelMetric], Meta(description="The metrics of the summary of the report.")
    ]
    quality: Mapping[str, Quality]


class Relation(Part, frozen=True, kw_only=True):
    """An edge of the graph: two models that are related."""

    first: str
    second: str
    kind: Annotated[
        str,
        Meta(
            description="`copy`, `same values`, `cast`, `quantised`, `derived`, `same initialisation`, "
            "`permuted copy (uncalibrated)`, or `shares tensors`, where equal tensors alone are known. Later "
            "versions may add kinds."
        ),
    ]
    source: Annotated[
        str | None,
        Meta(description=("The model that the other was made from, where the precision shows it.")),
    ]
    tree: Annotated[
        bool, Meta(description=("Whether it is an edge of the tree that joins the closest models first."))
    ]
    shared: Annotated[
        NonNegative,
        Meta(description="Share of the parameters of the smaller model in tensors that are equal."),
    ]
    evidence: Annotated[
        Mapping[str, Any] | None,
        Meta(description="The test, as docs/lineage.md explains it; null for copies."),
    ]


class Relations(Part, frozen=True, kw_only=True):
    """The graph of the zoo, and which pairs were looked at."""

    level: Annotated[Number | None, Meta(description="Level of each test; null where nothing was tested.")]
    candidates: Annotated[
        Count, Meta(description=("Number of pairs whose layers have the same shapes; copies count once."))
    ]
    tested: Count
    untested: Annotated[
        Count, Meta(description=("Number of candidates beyond the limit, of which nothing is known."))
    ]
    unreadable: Annotated[Count, Meta(description="Number of candidates that could not be read again.")]
    edges: tuple[Relation, ...]


class Quarantined(Part, frozen=True):
    """A task that was given up, after it had killed its worker several times or failed."""

    model: str
    part: Annotated[
        str, Meta(description="`part 3 of 8` of a large model; empty for a model that is one task.")
    ]
    reason: str


class ZooRun(Part, frozen=True, kw_only=True):
    """How the run went: the only part that differs between two runs."""

    seconds: NonNegative
    workers: Count
    bytes: Annotated[Count, Meta(description="Number of bytes of the files that were read.")]
    tasks: Annotated[Count, Meta(description="Number of tasks that were carried out.")]
    retries: Annotated[Count, Meta(description="Number of times that a task was repeated.")]
    models_computed: Count
    models_reused: Annotated[Count, Meta(description="Number of models whose record the store already had.")]
    layers_computed: Count
    layers_reused: Annotated[Count, Meta(description="Number of layers whose record the store already had.")]
    quarantined: tuple[Quarantined, ...]
    complete: Annotated[bool, Meta(description="False for a run that was stopped.")]


class Zoo(Part, frozen=True, kw_only=True):
    """The audit of a model zoo."""

    schema: ZooHeader
    tool: Tool
    models: Annotated[tuple[ZooModel, ...], Meta(description="In the order in which they were given.")]
    relations: Relations | None = None
    run: ZooRun

    def to_dict(self) -> dict[str, Any]:
        """Return the document: plain dicts, lists and scalars, keys in the published order."""
        document: dict[str, Any] = plain(self)
        return document


def load_zoo(text: str | bytes) -> Zoo:
    """Return the zoo of a document.

    Raises ``CorruptError``: RA-RP-001 where the text is no strict JSON, RA-ZO-005 where it is no such
    document.
    """
    document = parse_json(text)
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, dict) or schema.get("name") != SCHEMA_NAME:
        raise CorruptError(
            "RA-ZO-005", f"The file is not the audit of a zoo: its schema is not {SCHEMA_NAME!r}."
        )
    try:
        zoo = msgspec.convert(document, Zoo)
    except msgspec.ValidationError as error:
        problem = display_name(str(error), longest=400)
        raise CorruptError(
            "RA-ZO-005", f"The file is not a valid {SCHEMA_NAME} document: {problem}."
        ) from None
    return zoo


def zoo_schema() -> dict[str, Any]:
    """Return the published JSON Schema (2020-12) of the document."""
    schema: dict[str, Any] = msgspec.json.schema(Zoo)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:rmtaudit:zoo:{ZOO_HEADER.version}",
        "title": "Audit of a model zoo by rmtaudit",
        **msgspec.json.decode(msgspec.json.encode(schema)),
    }
