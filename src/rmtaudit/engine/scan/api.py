"""The Python API of a scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from rmtaudit.checkpoints import Checkpoint, open_checkpoint

if TYPE_CHECKING:
    import numpy as np
    import torch

    from rmtaudit.engine.resources.progress import Progress
    from rmtaudit.engine.settings.presets import ResolvedSettings
    from rmtaudit.engine.settings.scan import ScanKeywords
    from rmtaudit.report.model import Report


def scan(
    target: str | Path | Checkpoint | Mapping[str, torch.Tensor | np.ndarray[Any, Any]] | torch.nn.Module,
    *,
    preset: str = "default",
    analyzers: Sequence[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
    base: str
    | Path
    | Checkpoint
    | Mapping[str, torch.Tensor | np.ndarray[Any, Any]]
    | torch.nn.Module
    | None = None,
    stream: bool = False,
    **keywords: Unpack[ScanKeywords],
) -> Report:
    """Scan one model.

    Parameters
    ----------
    target
        A file or folder, a model of the Hugging Face Hub (``"hf://org/name"``), a URL, an opened checkpoint,
        a state dict, or a module.
    preset
        ``default``, ``fast``, ``audit`` or ``weightwatcher``. Configuration files and the environment are
        not read.
    analyzers
        Names of analyzers, instead of the preset's.
    progress
        Told after every layer, from any thread.
    base
        The model that an adapter was trained on: the merged weights are analysed too.
    stream
        Read a model of the Hub over the network, layer by layer, instead of downloading it.
    **keywords
        Fields of ``ScanSettings``: ``conv="slices-pooled"``, ``options={"powerlaw": {"bootstrap": 200}}`` …

    Returns
    -------
    Report
        With ``complete=False`` if it was interrupted from the keyboard or the file changed while it was read.

    Raises
    ------
    InputError
        If the checkpoint cannot be read.
    UsageError
        If a preset, setting, analyzer or option does not exist.

    Examples
    --------
    >>> import torch, rmtaudit
    >>> report = rmtaudit.scan({"layer.weight": torch.eye(64, 64) + torch.ones(64, 64)}, analyzers=["scale"])
    >>> round(report.layers[0].metrics["log10_spectral_norm"].value, 6)
    1.812913
    """
    from rmtaudit.analyzers.registry import build_all, metric_catalogue
    from rmtaudit.engine.scan.run import scan_checkpoint
    from rmtaudit.engine.settings.presets import preset_settings, select_metrics

    _require_known(keywords, preset)
    resolved = preset_settings(preset, analyzers=analyzers, **keywords)
    _require_effect(resolved, keywords)
    built = build_all(resolved.settings.analyzers, resolved.settings.options)
    chosen = select_metrics(resolved, metric_catalogue(built))
    with ExitStack() as opened:
        checkpoint = _opened(target, opened, stream=stream)
        model = None if base is None else _opened(base, opened, stream=stream)
        return scan_checkpoint(checkpoint, chosen, progress=progress, base=model)


def _require_known(keywords: Mapping[str, object], preset: str) -> None:
    """Raise ``UsageError`` (RA-US-701) for a keyword that is no setting."""
    from rmtaudit.analyzers.registry import options_of_own
    from rmtaudit.engine.settings.presets import preset_settings
    from rmtaudit.engine.settings.scan import ScanKeywords
    from rmtaudit.errors import UsageError
    from rmtaudit.names import display_name, suggestion

    known = ("preset", "analyzers", "progress", *ScanKeywords.__annotations__)
    for name in keywords:
        if name in known:
            continue
        owners = [analyzer for analyzer, options in options_of_own().items() if name in options]
        if owners:
            running = preset_settings(preset).settings.analyzers
            owner = next((each for each in owners if each in running), owners[0])
            raise UsageError(
                "RA-US-701",
                f"{name!r} is not a setting, but an option of {' and '.join(owners)}.",
                hint=f"Pass options={{{owner!r}: {{{name!r}: ...}}}}.",
            )
        shown = display_name(name)
        raise UsageError(
            "RA-US-701",
            f"Unknown setting {shown!r}.{suggestion(name, known)}",
            hint=f"Settings: {', '.join(known)}.",
        )


def _require_effect(resolved: ResolvedSettings, keywords: ScanKeywords) -> None:
    """Raise ``UsageError`` (RA-CF-011) for options of an analyzer that does not run."""
    from rmtaudit.errors import UsageError
    from rmtaudit.names import display_name, suggestion

    running = resolved.settings.analyzers
    for name in keywords.get("options") or {}:
        if name not in running:
            raise UsageError(
                "RA-CF-011",
                f"The setting options[{display_name(repr(name))}] has no effect: the scan does "
                f"not run that analyzer.{suggestion(str(name), running)}",
                hint=f"The scan runs: {', '.join(running)}.",
                where="argument options",
            )


def _opened(target: Any, opened: ExitStack, *, stream: bool) -> Checkpoint:
    """Return the checkpoint of a target, to be closed with the stack unless the caller opened it."""
    if isinstance(target, Checkpoint):
        return target
    if isinstance(target, (str, Path)):
        return opened.enter_context(open_checkpoint(target, stream=stream))
    from rmtaudit.checkpoints.memory import StateDictCheckpoint
    from rmtaudit.checkpoints.schemes import decoded

    return opened.enter_context(decoded(StateDictCheckpoint(target)))
