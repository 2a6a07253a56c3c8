"""Gradient norms from the log of a training: JSON lines, as ``rmtaudit.training`` writes them.

A log is hostile until read: lines are parsed one at a time, none longer than 16 MiB.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from rmtaudit.errors import CorruptError, InputError, NotACheckpointError
from rmtaudit.names import display_name, suggestion

if TYPE_CHECKING:
    import torch

ENDINGS = (".jsonl", ".ndjson")
SCHEMA_NAME = "rmtaudit.training"
_LONGEST = 16 << 20  # bytes of a line: the norms of half a million parameters


class _Schema(msgspec.Struct):
    name: str


class _Line(msgspec.Struct):
    """The parts of any record that are read here."""

    kind: str
    schema: _Schema | None = None
    step: int = 0
    parameters: list[str] | None = None
    norms: list[float | None] | None = None
    nonfinite: list[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientSample:
    """Gradient norms of a training.

    Attributes
    ----------
    values
        One norm a step, over the chosen parameters together, shape ``(n,)``, float64.
    parameters
        How many parameters were chosen.
    steps
        The first and the last step.
    nonfinite
        How many steps were left out because a norm was infinite or NaN.
    absent
        How many steps were left out because no chosen parameter had a gradient.
    """

    values: torch.Tensor
    parameters: int
    steps: tuple[int, int]
    nonfinite: int
    absent: int


def read_gradient_norms(
    path: Path, *, parameter: str | None = None, window: tuple[int, int | None] = (0, None)
) -> GradientSample:
    """Return the gradient norm of every recorded step.

    Parameters
    ----------
    path
        The log. Runs that were appended to one file are taken together.
    parameter
        Name of a parameter, or a pattern of a shell: the norm of all that match it, together. ``None``: all.
    window
        The first step that is taken, and the first that is not any more.

    Raises
    ------
    InputError
        RA-GN-001: no regular file, or unreadable. RA-GN-004: no gradient norms, or none in the window.
        RA-GN-005: no parameter matches.
    NotACheckpointError
        RA-GN-002: not the log of a training.
    CorruptError
        RA-GN-003: a line that is no record. A last line without its end, as a crash leaves it, is not read.
    """
    where = display_name(str(path))
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # before opening: a FIFO would wait for its writer
            raise InputError(
                "RA-GN-001", "The path is not a regular file.", hint="Give a regular file.", where=where
            )
        with path.open("rb") as file:
            return _Reader(parameter, window, where).read(file)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        message = f"The file cannot be read: {reason}."
        raise InputError("RA-GN-001", message, hint="Check the path.", where=where) from error


class _Reader:
    """Collects the norms of a log; the parameters are those of the run that a line belongs to."""

    def __init__(self, parameter: str | None, window: tuple[int, int | None], where: str) -> None:
        self.parameter, self.window, self.where = parameter, window, where
        self.names: set[str] = set()
        self.count = 0
        self.chosen: list[int] | None = None
        self.matched = 0
        self.values: list[float] = []
        self.steps: list[int] = []
        self.nonfinite = self.absent = 0

    def read(self, file: BinaryIO) -> GradientSample:
        first, last = self.window
        for number, line in _lines(file, self.where):
            if line.schema is not None:
                self._begin(line, number)
            elif self.chosen is None:
                raise _not_a_log(self.where)
            elif line.kind == "gradients" and line.step >= first and (last is None or line.step < last):
                self._add(line, number)
        if self.chosen is None:
            raise _not_a_log(self.where)
        if self.names and not self.matched:
            raise InputError(
                "RA-GN-005",
                f"No parameter matches {display_name(str(self.parameter))!r}."
                f"{display_name(suggestion(str(self.parameter), self.names))}",
                where=self.where,
            )
        if not self.values:
            window = "" if self.window == (0, None) else " in this window"
            raise InputError(
                "RA-GN-004",
                f"The log has no finite gradient norms{window}.",
                hint="Gradient norms are recorded unless gradients=False is set.",
                where=self.where,
            )
        import torch  # a file that is refused does not wait for it

        return GradientSample(
            values=torch.tensor(self.values, dtype=torch.float64),
            parameters=self.matched,
            steps=(min(self.steps), max(self.steps)),
            nonfinite=self.nonfinite,
            absent=self.absent,
        )

    def _begin(self, line: _Line, number: int) -> None:
        if line.schema is None or line.schema.name != SCHEMA_NAME:
            raise _not_a_log(self.where)
        if line.parameters is None:
            raise _corrupt("has no parameters", number, self.where)
        names = line.parameters
        wanted = self.parameter
        self.names.update(names)
        self.count = len(names)
        self.chosen = [
            index
            for index, name in enumerate(names)
            if wanted is None or name == wanted or fnmatchcase(name, wanted)
        ]
        self.matched = max(self.matched, len(self.chosen))

    def _add(self, line: _Line, number: int) -> None:
        assert self.chosen is not None
        norms, nonfinite = line.norms, set(line.nonfinite or ())
        if norms is None or len(norms) != self.count:
            raise _corrupt("does not have a norm for each parameter", number, self.where)
        if nonfinite.intersection(self.chosen):
            self.nonfinite += 1
            return
        present = [norm for index in self.chosen if (norm := norms[index]) is not None]
        if any(norm < 0 for norm in present):
            raise _corrupt("has a negative norm", number, self.where)
        if present:
            self.values.append(math.hypot(*present))
            self.steps.append(line.step)
        else:
            self.absent += 1


def _lines(file: BinaryIO, where: str) -> Iterator[tuple[int, _Line]]:
    decoder = msgspec.json.Decoder(_Line)
    number = 0
    while raw := file.readline(_LONGEST + 1):
        number += 1
        if len(raw) > _LONGEST:
            raise _corrupt("is longer than 16 MiB", number, where)
        try:
            yield number, decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            if number == 1:
                raise _not_a_log(where) from None
            if not raw.endswith(b"\n"):
                return  # the process ended while it was written
            raise _corrupt(f"is not a record: {display_name(str(error))}", number, where) from None


def _corrupt(what: str, number: int, where: str) -> CorruptError:
    hint = "Remove the line if you know why it is damaged."
    return CorruptError("RA-GN-003", f"Line {number} {what}.", hint=hint, where=where)


def _not_a_log(where: str) -> NotACheckpointError:
    return NotACheckpointError(
        "RA-GN-002",
        "The file is not a log of a training run that rmtaudit.training wrote.",
        hint="For another kind of log, save the norms: numpy.save(path, values).",
        where=where,
    )
