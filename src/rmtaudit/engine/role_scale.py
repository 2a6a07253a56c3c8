"""A layer among those of its role: the same name but for the numbers in it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from rmtaudit.analyzers.base import Observation
from rmtaudit.report.model import LayerResult

_METRIC = "log10_rms"
_LEAST_PEERS = 4
_BEYOND = 5.0
_NUMBER = re.compile(r"\d+")


def role_of(name: str) -> str:
    """Return the name with every number replaced: ``layer.3.query`` and ``layer.11.query`` have one role."""
    return _NUMBER.sub("#", name)


def beyond_its_role(rows: Sequence[LayerResult]) -> dict[int, list[Observation]]:
    """Return observations RA-MO-003, by the place of the row.

    A layer is reported if its root mean square is more than 5 times that of each other layer of its role
    and shape, of which there must be at least 4. The factor lies between the 10 of a lost scale and what
    healthy stacks show (docs/calibration.md); a ratio to the largest peer needs no law for the spread of a
    few peers.
    """
    groups: defaultdict[tuple[str, tuple[int, ...]], list[tuple[int, float]]] = defaultdict(list)
    for index, row in enumerate(rows):
        result = row.metrics.get(_METRIC)
        if result is not None and isinstance(result.value, float):
            groups[role_of(row.name), tuple(row.shape)].append((index, 10**result.value))
    observed: dict[int, list[Observation]] = {}
    for (role, _), members in groups.items():
        if len(members) <= _LEAST_PEERS:
            continue
        (_, second), (index, largest) = sorted(members, key=lambda member: member[1])[-2:]
        if largest > _BEYOND * second:
            observed[index] = [_observation(role, largest, second, len(members) - 1)]
    return observed


def _observation(role: str, largest: float, second: float, peers: int) -> Observation:
    return Observation(
        "RA-MO-003",
        f"The weights are {largest / second:.3g} times larger than those of any other of the {peers} "
        f"layers of this role "
        f"(root mean square {largest:.3g} against at most {second:.3g}).",
        {"role": role, "rms": largest, "largest_peer": second, "ratio": largest / second, "peers": peers},
    )
