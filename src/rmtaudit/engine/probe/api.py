"""The Python API of ``rmtaudit probe``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from rmtaudit.engine.edits import edit_of
from rmtaudit.engine.networks.settings import NetworkSettings
from rmtaudit.engine.probe.settings import ProbeKeywords, ProbeSettings
from rmtaudit.engine.settings.keywords import settings_from
from rmtaudit.errors import UsageError

if TYPE_CHECKING:
    import torch

    from rmtaudit.report.probe import Probe


def probe(
    model: str | Path | torch.nn.Module,
    *,
    quantise: str | None = None,
    truncate: float | None = None,
    prune: float | None = None,
    precision: str = "float32",
    device: str = "cpu",
    allow_code: bool = False,
    state: Path | None = None,
    threads: int | None = None,
    settings: ProbeSettings | None = None,
    **keywords: Unpack[ProbeKeywords],
) -> Probe:
    """Measure what noise or an edit of each layer does to the output of a network, without data.

    Parameters
    ----------
    model
        The folder of a ``transformers`` model, ``module:factory`` or ``file.py:factory``, or the network
        itself, of which a copy is probed.
    quantise, truncate, prune
        The edit, at most one: a scheme such as ``"int4-g128"``; the number of singular values that are kept,
        or below 1 the share of their squares; the share of the entries that is set to 0.
    precision, device
        In which the network runs, and where.
    allow_code
        Whether ``module:factory`` may be imported and called.
    state
        Weights for the network of a factory.
    threads
        Of torch and BLAS; ``None``: the CPUs of this process.
    settings
        How it is probed, as an object; it may hold the edit.
    **keywords
        Or its fields: ``loss``, ``samples``, ``tokens``, ``draws``, ``noise``, ``data``, ``include``,
        ``exclude``, ``input_shape``, ``memory``, ``seed``.

    Returns
    -------
    Probe
        The most harmful layer comes first, without an edit the most sensitive one. ``to_dict()`` is the
        document that the command writes.

    Raises
    ------
    UsageError
        RA-US-815: several edits. RA-PB-001 to 004 and 006, RA-US-701 to 703, RA-US-814: settings that make
        no sense.
    InputError, UnsafeError, UnreachableError
        The network cannot be opened or run.
    NothingAuditableError
        RA-NA-012: it has no weight matrix.

    Examples
    --------
    >>> import rmtaudit, torch
    >>> _ = torch.manual_seed(0)
    >>> network = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4))
    >>> result = rmtaudit.probe(network, prune=0.5, input_shape=(8,), samples=4)
    >>> [layer.name for layer in result.layers], result.edit
    (['2.weight', '0.weight'], {'kind': 'prune', 'share': 0.5})
    """
    from rmtaudit.engine.probe.requests import ProbeRequest, answer_request

    chosen = settings_from(ProbeSettings, settings, keywords)
    edit = edit_of(quantise=quantise, truncate=truncate, prune=prune)
    if edit is not None:
        if chosen.edit is not None:
            raise UsageError("RA-US-702", "The settings hold an edit, but another one is given too.")
        chosen = replace(chosen, edit=edit)
    network = NetworkSettings(dtype=precision, device=device, allow_code=allow_code, state=state)
    return answer_request(
        ProbeRequest(
            model=str(model) if isinstance(model, str | Path) else model,
            network=network,
            probe=chosen,
            threads=threads,
        )
    )
