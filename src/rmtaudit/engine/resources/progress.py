"""How far a scan has come: what the engine tells whoever watches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One step of a scan, told after a layer is finished.

    Attributes
    ----------
    done, total
        Layers finished, and layers of the scan.
    name
        Name of the layer that was finished last. Hostile text: print it through ``display_name``.
    parameters_done, parameters_total
        The same in stored parameters: layers differ a thousandfold, so this is the honest share.
    """

    done: int
    total: int
    name: str
    parameters_done: int
    parameters_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How long a scan will take, before it starts.

    Attributes
    ----------
    layers
        Layers that will be analysed.
    threads
        Number of layers to process in parallel.
    seconds
        Estimated time, without the time to read, where the layers have a signal.
    seconds_most
        The same where every layer is noise and takes every test: whether one is, its weights decide.
    seconds_fast
        The time with the preset ``fast``; ``None`` for a scan that uses it.
    """

    layers: int
    threads: int
    seconds: float
    seconds_most: float
    seconds_fast: float | None
