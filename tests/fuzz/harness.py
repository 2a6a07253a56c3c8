"""How a target runs under atheris: its seeds as a corpus, the modules of rmtaudit instrumented.

``make fuzz`` runs every ``fuzz_*.py`` of this folder for ``FUZZ_SECONDS`` each.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def fuzz(seeds: Iterable[bytes], target: Callable[[bytes, Path], None]) -> None:
    """Run a target until the time is over that the command line gives (``-max_total_time=60``).

    Parameters
    ----------
    seeds
        Small valid inputs.
    target
        Takes an input and an empty folder to write it to. What it raises is a finding.
    """
    import atheris

    with tempfile.TemporaryDirectory() as corpus, tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds):
            Path(corpus, str(number)).write_bytes(seed)
        atheris.instrument_all()
        atheris.Setup([*sys.argv, corpus], lambda data: target(data, Path(folder)))
        atheris.Fuzz()
