"""What the golden tests share: layers of tensors in memory with their spectra, and how rows are compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
import torch

from rmtaudit.analyzers.base import LayerInput, MetricValue, Scalar
from rmtaudit.kernels.spectra.eigenvalues import pool, singular_values
from rmtaudit.kernels.spectra.spectrum import Spectrum
from rmtaudit.matrices.layers import ConvPolicy
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import TensorSpec

Solve = Callable[[torch.Tensor], Spectrum]


@pytest.fixture(scope="session")
def layer_inputs() -> Callable[..., dict[str, LayerInput]]:
    """Return a function from named tensors to what an analyzer is given of each of their layers."""

    def build(
        tensors: Mapping[str, torch.Tensor],
        *,
        conv: ConvPolicy = "slices-pooled",
        solve: Solve = singular_values,
        seed: int = 0,
    ) -> dict[str, LayerInput]:
        specs = [
            TensorSpec(name=name, shape=tuple(tensor.shape), dtype=str(tensor.dtype).removeprefix("torch."))
            for name, tensor in tensors.items()
        ]
        found = {}
        for layer in plan_layers(specs, conv=conv).layers:
            matrices = layer.build(tuple(tensors[name] for name in layer.tensors))
            spectrum = pool(tuple(solve(matrix) for matrix in matrices))
            found[layer.name] = LayerInput(layer=layer, spectrum=spectrum, matrices=matrices, seed=seed)
        return found

    return build


@pytest.fixture(scope="session")
def disagreements() -> Callable[..., list[str]]:
    """Return a function that lists where an analyzer's values and a row of the peer's differ.

    Numbers agree within a relative 1e-6, whole ones exactly. ``layer_id``, ``name``, ``longname`` and
    ``has_esd`` are no metrics here (the report's row has the name), and ``status`` is ``fit_status``.
    """
    ignored = {"layer_id", "name", "longname", "has_esd"}

    def compare(
        found: Mapping[str, MetricValue | Scalar],
        row: Mapping[str, str],
        *,
        skip: frozenset[str] = frozenset(),
    ) -> list[str]:
        differing = []
        for column, text in row.items():
            metric = "fit_status" if column == "status" else column
            if column in ignored or column in skip:
                continue
            value = found.get(metric)
            if isinstance(value, MetricValue):
                value = value.value
            if not _agrees(value, text):
                differing.append(f"{metric}: {found.get(metric)!r}, not {text}")
        return differing

    return compare


def _agrees(value: Scalar | None, text: str) -> bool:
    if value is None or isinstance(value, str):
        return (value or "") == text
    if isinstance(value, int):
        return value == int(float(text))
    return text != "" and math.isclose(value, float(text), rel_tol=1e-6)
