"""Watches the weights and gradients of a model in training, at a bounded share of the time of its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import torch
from torch import nn

from rmtaudit.engine.settings.keywords import settings_from
from rmtaudit.kernels.phases.classify import OUTCOMES
from rmtaudit.matrices.layers import Layer, LayerKind, whole
from rmtaudit.matrices.tensors import TensorSpec
from rmtaudit.matrices.views import as_stored
from rmtaudit.training.budget import Budget
from rmtaudit.training.gradients import GradientNorms
from rmtaudit.training.log import SCHEMA_NAME, SCHEMA_VERSION, TrainingLog
from rmtaudit.training.observation import observe_update, observe_weight
from rmtaudit.training.schedule import Schedule, slowness
from rmtaudit.training.settings import MonitorKeywords, MonitorSettings
from rmtaudit.training.watched import watch
from rmtaudit.version import installed_version

Logger = Callable[[dict[str, float]], Any]
Clock = Callable[[], float]

_FLUSHED = 100
"""Steps after which measured gradients and the account of the cost are written."""
_GRADIENTS = 0.5
"""The part of the share that gradients may take; the spectra have the rest."""
_WARM = 192, 128
"""Shape of the matrix that is looked at before the first step."""
_LOGGED = ("alpha", "kappa_full", "kappa_bulk", "phase_spikes", "phase_confidence")
"""Metrics that a logger of numbers is given."""


class TrainingMonitor:
    """Records spectra of weights and updates and norms of gradients as JSON lines while a model is trained.

    Call :meth:`step` once a step, after ``optimizer.step()`` and before ``optimizer.zero_grad()``. It looks
    at most at one matrix a time, and only when that fits into the share of the step time that is allowed.
    The training itself is not changed: no random number of the global generators is drawn, no tensor
    written.

    Parameters
    ----------
    model
        The model.
    path
        The log; ``None`` writes none.
    log
        Called with a dictionary of numbers for every observation: ``wandb.log``, ``trainer.log`` …
    config
        The model's ``config.json`` as values, where there is one.
    settings
        How it is watched, as an object.
    first_step
        How many steps the training has behind it, if it is resumed.
    clock
        Seconds that pass, from any start.
    **keywords
        Or the fields of ``settings``: ``share``, ``gradients``, ``updates``, ``include`` …

    Raises
    ------
    OutputError
        RA-TR-001: the log exists. RA-TR-002: it cannot be written.
    UsageError
        RA-TR-003: a setting that makes no sense. RA-US-114: no layer matches ``include``. RA-US-701 to 703:
        a setting that is unknown, or given twice.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.training import TrainingMonitor
    >>> model = torch.nn.Linear(64, 64)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with TrainingMonitor(model, None, share=0.02) as monitor:
    ...     for _ in range(3):
    ...         model(torch.ones(64)).square().sum().backward()
    ...         optimizer.step()
    ...         records = monitor.step()
    ...         optimizer.zero_grad()
    >>> monitor.cost()["steps"]
    3
    """

    def __init__(
        self,
        model: nn.Module,
        path: str | Path | None,
        *,
        log: Logger | None = None,
        config: Mapping[str, Any] | None = None,
        settings: MonitorSettings | None = None,
        first_step: int = 0,
        clock: Clock = time.perf_counter,
        **keywords: Unpack[MonitorKeywords],
    ) -> None:
        self.settings = settings_from(MonitorSettings, settings, keywords)
        self._clock = clock
        self._logger = log
        started = clock()
        chosen = self.settings
        watched = watch(
            model,
            include=chosen.include,
            exclude=chosen.exclude,
            least_side=chosen.least_side,
            config=config,
        )
        self._layers = watched.layers
        self._budget = Budget(chosen.share)
        self._gradients = GradientNorms(model) if chosen.gradients else None
        self._gradient_seconds, self._gradient_cost = 0.0, 0.0
        self._gradient_counts = {"measured": 0, "over_budget": 0, "absent": 0}
        self._observations = 0
        self._requested_seconds = 0.0
        self._step = self._flushed = first_step
        self._left: float | None = None
        self._closed = False
        self._devices = _accelerators(model)
        self._log = None if path is None else TrainingLog(Path(path), append=chosen.append)
        self._last = [first_step] * len(self._layers)
        self._schedule = Schedule(
            [each.layer.shape for each in self._layers],
            updates=chosen.updates,
            slowness=_warm_up(clock, updates=chosen.updates) if self._layers else 1.0,
        )
        self._stored = [each.stored() if chosen.updates else () for each in self._layers]
        self._write(
            {
                "schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION},
                "kind": "start",
                "tool": {"version": installed_version(), "options": asdict(chosen)},
                "matrices": [
                    {
                        "name": each.layer.name,
                        "kind": str(each.layer.kind),
                        "view": each.layer.view,
                        "shape": list(each.layer.shape),
                        "dtype": each.layer.dtype,
                    }
                    for each in self._layers
                ],
                "not_watched": [asdict(each) for each in watched.skipped],
                "parameters": list(self._gradients.names) if self._gradients is not None else [],
                "setup_seconds": clock() - started,
            }
        )
        if chosen.at_ends:
            self.observe()

    def step(self, step: int | None = None) -> list[dict[str, Any]]:
        """Take note of a step of the training; look at gradients, and at a matrix, as the budget allows.

        Parameters
        ----------
        step
            The number of the step that has ended; ``None`` counts from 1.

        Returns
        -------
        list of dict
            The records of matrices that were made, mostly none.
        """
        entered = self._clock()
        budget, schedule = self._budget, self._schedule
        budget.step(0.0 if self._left is None else entered - self._left)
        self._step = self._step + 1 if step is None else step
        if self._gradients is not None:
            self._measure(self._gradients)
        records = []
        waited = 0.0
        if schedule.upcoming is not None and budget.affords(schedule.seconds):
            waited = self._synchronise()
            records.append(self._observe(schedule.upcoming))
            self._report(records)
        if records or self._step - self._flushed >= _FLUSHED:
            self._flush()
        self._left = self._clock()
        budget.spend(self._left - entered - waited)
        return records

    def observe(self) -> list[dict[str, Any]]:
        """Look at every matrix now, whatever it costs.

        The time is no part of the share, and is recorded apart. Returns the records.
        """
        started = self._clock()
        records = [self._observe(index) for index in range(len(self._layers))]
        self._flush()
        self._report(records)
        spent = self._clock() - started
        self._requested_seconds += spent
        if self._left is not None:
            self._left += spent
        return records

    def pause(self) -> None:
        """Take the time from now to the next :meth:`step` for no step: for an evaluation, or a break.

        Without it, the pause counts as a step of at most three typical ones.
        """
        self._left = None

    def cost(self) -> dict[str, Any]:
        """Return what watching has cost so far, and what was left out to keep within the share.

        ``share`` is ``own_seconds`` over ``step_seconds``; ``requested_seconds`` is the time of
        :meth:`observe`, which is in neither.
        """
        budget = self._budget
        return {
            "steps": budget.steps,
            "step_seconds": budget.step_seconds,
            "own_seconds": budget.spent,
            "share": budget.spent / budget.step_seconds if budget.step_seconds else None,
            "allowed": budget.share,
            "requested_seconds": self._requested_seconds,
            "gradients": dict(self._gradient_counts),
            "observations": self._observations,
            "never_observed": [self._layers[index].layer.name for index in self._schedule.never],
        }

    def close(self) -> None:
        """Write what is left, and the account of the cost; close the log."""
        if self._closed:
            return
        self._closed = True
        if self.settings.at_ends:
            self.observe()
        self._flush()
        self._write({"kind": "end", "step": self._step, **self.cost()})
        if self._log is not None:
            self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _measure(self, gradients: GradientNorms) -> None:
        if self._gradient_seconds + self._gradient_cost > _GRADIENTS * self._budget.earned:
            self._gradient_counts["over_budget"] += 1
            return
        started = self._clock()
        measured = gradients.measure(self._step)
        spent = self._clock() - started
        self._gradient_counts["measured" if measured else "absent"] += 1
        self._gradient_seconds += spent
        self._gradient_cost = 0.9 * self._gradient_cost + 0.1 * spent

    def _observe(self, index: int) -> dict[str, Any]:
        started = self._clock()
        watched, since = self._layers[index], self._last[index]
        stored = watched.stored()
        record: dict[str, Any] = {
            "kind": "matrix",
            "step": self._step,
            "name": watched.layer.name,
            **observe_weight(watched.layer, stored, seed=self.settings.seed),
        }
        if self.settings.updates:
            steps = self._step - since
            if steps > 0:
                before = watched.matrix(self._stored[index])
                after = watched.matrix(stored)
                record["update"] = observe_update(watched.layer, before, after, since=since, steps=steps)
            self._stored[index] = stored
        self._last[index] = self._step
        self._observations += 1
        spent = self._clock() - started
        self._schedule.observed(index, spent)
        record["seconds"] = spent
        self._write(record)
        return record

    def _flush(self) -> None:
        started = self._clock()
        self._flushed = self._step
        records = list(self._gradients.flush()) if self._gradients is not None else []
        self._write(*records, {"kind": "cost", "step": self._step, **self.cost()})
        self._gradient_seconds += self._clock() - started

    def _report(self, records: list[dict[str, Any]]) -> None:
        if self._logger is not None:
            for record in records:
                self._logger(numbers(record))

    def _write(self, *records: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.write(*records)

    def _synchronise(self) -> float:
        """Wait for the accelerators to finish the step: that is time of the step, not of watching."""
        if not self._devices:
            return 0.0
        started = self._clock()
        for device in self._devices:
            torch.cuda.synchronize(device)
        waited = self._clock() - started
        self._budget.wait(waited)
        return waited


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a record of a matrix, named for a logger: ``rmtaudit/LAYER/alpha``.

    The phase is its place among the phases, from 0 for random-like; an undecided one is left out.
    """
    prefix = f"rmtaudit/{record['name']}"
    metrics = record.get("metrics", {})
    given = {f"{prefix}/{name}": metrics[name]["value"] for name in _LOGGED if name in metrics}
    phase = metrics.get("phase", {}).get("value")
    given[f"{prefix}/phase"] = OUTCOMES.index(phase) if phase in OUTCOMES else None
    update = record.get("update", {})
    for name in ("spectral_norm", "relative", "stable_rank"):
        given[f"{prefix}/update_{name}"] = update.get(name)
    return {name: float(value) for name, value in given.items() if value is not None}


def _accelerators(model: nn.Module) -> tuple[torch.device, ...]:
    devices = {parameter.device for parameter in model.parameters()}
    return tuple(sorted((device for device in devices if device.type == "cuda"), key=str))


def _warm_up(clock: Clock, *, updates: bool) -> float:
    """Look at a small random matrix twice, and return how slow the second time was.

    Loading libraries and tables is then no part of a step, and the first looks are expected to take what they
    take on this machine.
    """
    generator = torch.Generator().manual_seed(0)
    rows, cols = _WARM
    noise = torch.randn(rows, cols, generator=generator)
    spec = TensorSpec(name="warm-up", shape=(rows, cols), dtype="float32")
    layer: Layer = whole(spec, LayerKind.DENSE, "as stored", (rows, cols), as_stored)
    started = clock()
    for weight in (noise, noise / torch.rand(rows, 1, generator=generator)):
        started = clock()
        observe_weight(layer, (weight,), seed=0)
        if updates:
            observe_update(layer, weight.double(), 2 * noise.double(), since=0, steps=1)
    return slowness(rows, cols, clock() - started, updates=updates)
