"""What was run, and on what: the parts of a report that later versions may extend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from rmtaudit.report.plain import Count


class Tool(TypedDict):
    """What was run, with every setting that may change a number. Later versions may add keys."""

    version: str
    preset: str
    analyzers: Sequence[str]
    options: Annotated[
        Mapping[str, Mapping[str, Any]],
        Meta(description="Every option of every analyzer, defaults included."),
    ]
    conv: Literal["flattened", "slices-pooled", "slices"]
    solver: Literal["gram", "svd", "auto"]
    precision: NotRequired[
        Annotated[Literal["auto", "float64"], Meta(description="Arithmetic that a spectrum may have.")]
    ]
    seed: Count
    device: str
    include: NotRequired[
        Annotated[Sequence[str], Meta(description="Patterns of the layers that were chosen.")]
    ]
    exclude: NotRequired[
        Annotated[Sequence[str], Meta(description="Patterns of the layers that were excluded.")]
    ]
    sort: Annotated[
        str, Meta(description="The metric or property that orders a rendered table, worst first.")
    ]
    columns: Annotated[
        Sequence[str], Meta(description="The metrics and properties that a rendered table shows.")
    ]


class Base(TypedDict):
    """The model whose weights the updates of an adapter were added to."""

    path: str
    format: str
    parameters: Annotated[Count, Meta(description="Number of elements of all its tensors.")]
    merged: Annotated[Count, Meta(description="Number of weights with an update.")]
    not_merged: Annotated[
        Count, Meta(description=("Number of updates that could not be added; `coverage` states the reasons."))
    ]
    without_update: Annotated[Count, Meta(description="Number of weight tensors without an update.")]
    warnings: Sequence[str]


class StreamedFile(TypedDict):
    """A file that was read over the network, as the server states it."""

    name: str
    bytes: Count
    sha256: Annotated[
        str | None, Meta(description="Digest of the whole file as the Hub states it, not verified.")
    ]


class Subject(TypedDict):
    """What was scanned. Later versions may add keys."""

    path: str
    format: str
    digest: Annotated[
        str | None,
        Meta(
            description="Digest of names, shapes, dtypes and values; null for a scan that was stopped, and "
            "for a streamed model of which not every tensor was transferred."
        ),
    ]
    parameters: Annotated[Count, Meta(description="Number of elements of all tensors in the container.")]
    bytes: NotRequired[Annotated[Count, Meta(description="Approximate size in the container, in bytes.")]]
    dtypes: Annotated[Mapping[str, Count], Meta(description="Number of elements of each dtype.")]
    warnings: Sequence[str]
    base: NotRequired[Base]
    streamed: NotRequired[
        Annotated[
            Sequence[StreamedFile],
            Meta(description="The files of a model that was read over the network and not stored."),
        ]
    ]
