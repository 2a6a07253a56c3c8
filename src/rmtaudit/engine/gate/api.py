"""The Python API of a gate."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.gate.load import Policy, load_policy
from rmtaudit.engine.gate.run import Gate

if TYPE_CHECKING:
    from rmtaudit.report.gate import GateDocument


def gate(
    target: Any,
    *,
    policy: str | Path | Policy = "standard",
    baseline: Any = None,
    claim: str | None = None,
    day: datetime.date | None = None,
    threads: int | None = None,
) -> GateDocument:
    """Apply a policy to a model, or to several.

    Parameters
    ----------
    target
        A saved report, a :class:`Report`, a checkpoint as :func:`rmtaudit.scan` takes it, or a list of
        these.
    policy
        A preset (``lenient``, ``standard``, ``strict``, ``identical``, ``same-weights``) or a policy file.
    baseline
        What changes are measured against: a report or a checkpoint.
    claim
        What the model is said to be of the baseline: ``"Q4_K_M of BASE"``, ``"lora:ADAPTER"`` …
    day
        The day that expiries of suppressions are compared with; today in UTC.
    threads
        Layers worked on at the same time; ``None``: the CPUs of this process.

    Returns
    -------
    GateDocument
        ``outcome`` is ``passed``, ``failed``, ``inconclusive`` or ``unreadable``, ``exit_code`` what
        ``rmtaudit gate`` exits with, and ``subjects`` has every check with its sentence.

    Raises
    ------
    UsageError
        RA-PO-001 to RA-PO-010 and RA-CF-001 to RA-CF-007: the policy cannot be used.
    InputError
        The baseline cannot be read. A target that cannot be read is ``unreadable`` in the document.

    Examples
    --------
    >>> import torch, rmtaudit
    >>> state = {"layer.weight": torch.randn(64, 64, generator=torch.Generator().manual_seed(0))}
    >>> rmtaudit.gate(state, policy="identical", baseline=state).outcome
    'passed'
    """
    loaded = policy if isinstance(policy, Policy) else load_policy(policy)
    if claim is not None:
        loaded = loaded.with_claim(claim)
    today = datetime.datetime.now(datetime.UTC).date() if day is None else day
    several = isinstance(target, Sequence) and not isinstance(target, (str, bytes))
    targets = list(target) if several else [target]
    return Gate(policy=loaded, baseline=baseline, day=today, threads=threads).run(targets)
