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
