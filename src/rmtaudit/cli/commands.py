"""The commands by name, imported when they are asked for.

``rmtaudit scan`` imports ``rmtaudit.cli.scan`` and no other command; ``rmtaudit --help`` imports none. The
list of commands is therefore written here, and a test compares it with the modules.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module

import click

SUMMARIES = {
    "scan": "Analyse every weight matrix of checkpoints, one report each.",
    "compare": "Say what happened between two checkpoints: fine-tuned, merged, pruned, quantised, converted.",
    "gate": "Apply a policy to models: exit code 0 passed, 1 failed, 3 inconclusive, 2 could not judge.",
    "inspect": "List the tensors of a checkpoint and what a scan would do with each.",
    "lineage": "Draw the family tree of a folder of models or of several models, "
    "or explain a merge by its parents.",
    "rank": "Order the models of a zoo by each metric, and test whether one adds to their size.",
    "report": "Render a report that `rmtaudit scan --format json` wrote.",
    "zoo": "Audit all models of folders, patterns or a manifest, on all CPUs or on a cluster.",
    "cache": "List, check and clean the store of a zoo.",
    "card": "Write the audit of a model into its model card, as a section that is updated in place.",
    "tails": "Fit the tails of a sample: eigenvalues, gradient norms, or any numbers.",
    "forecast": "Forecast the error of ridge regression from the spectrum of its features.",
    "forecast ridge": "Forecast training and test error against width, ridge and sample size.",
    "logdet": "Compute the log-determinant of a matrix, with its error; or say why there is none.",
    "density": "Find the spectrum of a matrix, or predict that of a larger one from principal blocks of it.",
    "kernel": "Form the neural tangent kernel (ntk) or the conjugate kernel (ck) of a network, on disk.",
    "activations": "Measure the activations that each layer is given: their covariance, "
    "and what the weights make of it.",
    "probe": "Measure what noise or an edit of each layer does to a network's output, without data.",
    "extract-lora": "Write what a fine-tune changed as a LoRA adapter of its base.",
    "whatif": "Show how much an edit would change every layer of a checkpoint, the largest change first.",
    "analyzers": "List the analyzers that are installed.",
    "config": "Show settings and schemas.",
    "explain": "Explain a finding, a metric or another column of the table, an error code, "
    "or a term of the glossary.",
    "doctor": "Check this installation: versions, linear algebra, resources, optional packages, plugins.",
}
"""The first sentence of the help of every command, in the order of ``rmtaudit --help``.

A command is the attribute of its own name in the module of its own name, with underscores for spaces and
hyphens.
"""


class Commands(MutableMapping[str, click.Command]):
    """The commands of :data:`SUMMARIES`, and those added later. Only ``commands[name]`` imports one."""

    def __init__(self) -> None:
        self._names = dict.fromkeys(SUMMARIES)
        self._imported: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._imported:
            self._imported[name] = _imported(name)
        return self._imported[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._names[name] = None
        self._imported[name] = command

    def __delitem__(self, name: str) -> None:
        del self._names[name]
        self._imported.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _imported(name: str) -> click.Command:
    attribute = name.replace(" ", "_").replace("-", "_")
    command: click.Command = getattr(import_module(f"rmtaudit.cli.{attribute}"), attribute)
    return command
