"""The callback for the ``Trainer`` of transformers. That library is imported when the class is asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from rmtaudit.engine.settings.keywords import settings_from
from rmtaudit.errors import UsageError
from rmtaudit.training.monitor import Logger, TrainingMonitor, numbers
from rmtaudit.training.settings import MonitorKeywords, MonitorSettings

if TYPE_CHECKING:
    from torch import nn


class MonitorEvents:
    """What happens at the events of a ``Trainer``: those of :class:`RmtauditCallback`.

    Gradients are those that the optimizer has used: after clipping. Of several processes only the first
    watches.

    Parameters
    ----------
    path
        The log; ``None`` writes none. A training that is resumed continues it.
    log
        Given a dictionary of numbers for every observation. ``trainer.log`` reaches every logger that the
        Trainer has.
    settings, **keywords
        As of :class:`~rmtaudit.training.monitor.TrainingMonitor`.

    Attributes
    ----------
    monitor
        The monitor while and after it watches; ``None`` before, and in other processes than the first.
    """

    def __init__(
        self,
        path: str | Path | None,
        *,
        log: Logger | None = None,
        settings: MonitorSettings | None = None,
        **keywords: Unpack[MonitorKeywords],
    ) -> None:
        self.monitor: TrainingMonitor | None = None
        self._settings = settings_from(MonitorSettings, settings, keywords)
        self._path = path
        self._logger = log
        self._unreported: list[dict[str, Any]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: nn.Module, **others: Any) -> None:
        """Begin to watch."""
        del args, control, others
        if not state.is_world_process_zero:
            return
        config = getattr(model, "config", None)
        values = config.to_dict() if config is not None and hasattr(config, "to_dict") else None
        settings = replace(self._settings, append=self._settings.append or state.global_step > 0)
        self.monitor = TrainingMonitor(
            model, self._path, config=values, settings=settings, first_step=state.global_step
        )

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Look at gradients and weights: the optimizer has used the gradients, and they are still there."""
        del args, control, others
        if self.monitor is not None:
            self._unreported += self.monitor.step(state.global_step + 1)

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Report to the logger, and restore the wish of the Trainer to log, which its ``log`` resets."""
        del args, state, others
        if self._logger is None or not self._unreported:
            return
        wanted = control.should_log
        for record in self._unreported:
            self._logger(numbers(record))
        self._unreported = []
        control.should_log = wanted

    def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Write the account of the cost, and close the log."""
        del args, state, control, others
        if self.monitor is not None:
            self.monitor.close()


@cache
def callback_class() -> type[MonitorEvents]:
    """Return ``RmtauditCallback``: the events as a ``TrainerCallback``.

    Raises
    ------
    UsageError
        RA-TR-004: transformers is not installed.
    """
    try:
        from transformers import TrainerCallback
    except ImportError as error:
        raise UsageError(
            "RA-TR-004",
            f"The callback needs transformers: {error}.",
            hint=("pip install 'rmtaudit[networks]'; rmtaudit.training.TrainingMonitor does not need it."),
        ) from error
    members = {"__doc__": MonitorEvents.__doc__, "__module__": "rmtaudit.training"}
    return type("RmtauditCallback", (MonitorEvents, TrainerCallback), members)
