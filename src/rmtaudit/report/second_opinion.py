"""The section ``verification`` of a report: numbers beside those of other libraries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypedDict

from msgspec import Meta

from rmtaudit.report.plain import Count, Number


class Check(TypedDict):
    """A number and its recomputation with another library."""

    owner: str
    quantity: str
    library: str
    ours: Number | None
    theirs: Number | None
    deviation: Annotated[
        Number | None, Meta(description=("Deviation in units of the accuracy; null where it is infinite."))
    ]
    accuracy: Annotated[Number, Meta(description="The largest deviation that counts as agreement.")]
    scale: Literal["absolute", "relative", "floor"]
    agrees: bool


class NotCompared(TypedDict):
    """What has no second opinion, and why."""

    owner: str
    reason: str


class Verification(TypedDict):
    """A second opinion on a few layers; only in reports of scans that were asked for it."""

    outcome: Literal["agrees", "deviates", "nothing compared"]
    seed: Count
    largest: Sequence[Check]
    checks: Sequence[Check]
    not_compared: Sequence[NotCompared]
