"""Every public kernel on the pretend GPU: the numbers of the CPU, and no operator between two devices.

Where torch has a GPU, the same rows run on it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kernel_rows_comparisons
import kernel_rows_matrices
import kernel_rows_series
import kernel_rows_weights
import numpy as np
import pytest
import torch
from kernel_inputs import Row
from pretend_gpu import DEVICE, pretend_gpu
from public_kernels import public_kernels, recorded

ROWS: dict[str, Row] = {
    **kernel_rows_matrices.ROWS,
    **kernel_rows_comparisons.ROWS,
    **kernel_rows_weights.ROWS,
    **kernel_rows_series.ROWS,
}
_EQUALISED = ("variance profiles", "noise")
_RAN: dict[str, set[str]] = {}
"""The kernels that each row ran on the pretend GPU, by the name of the row."""


@pytest.mark.parametrize("name", ROWS)
def test_a_row_gives_the_numbers_of_the_cpu(name: str) -> None:
    expected = ROWS[name](lambda tensor: tensor)
    with pretend_gpu(), recorded(_RAN.setdefault(name, set())):
        computed = plain(ROWS[name](lambda tensor: tensor.to(DEVICE)))
    assert_same(computed, plain(expected), name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("name", ROWS)
def test_a_row_gives_the_numbers_of_the_cpu_on_a_real_gpu(name: str) -> None:
    expected = ROWS[name](lambda tensor: tensor)
    assert_same(plain(ROWS[name](lambda tensor: tensor.cuda())), plain(expected), name)


WITHOUT_ROWS = Path(__file__).with_name("kernels_without_rows.txt")
"""Kernels that have no row yet. It only gets shorter: a new kernel has a row."""


def test_every_public_kernel_ran_on_the_device() -> None:
    for name in ROWS.keys() - _RAN.keys():  # where this test runs alone
        with pretend_gpu(), recorded(_RAN.setdefault(name, set())):
            ROWS[name](lambda tensor: tensor.to(DEVICE))
    ran, listed = set().union(*_RAN.values()), set(WITHOUT_ROWS.read_text().split())
    assert sorted(public_kernels().keys() - ran - listed) == [], "kernels without a row"
    assert sorted(listed & ran) == [], f"kernels that have a row now: take them out of {WITHOUT_ROWS.name}"


def plain(value: Any) -> Any:
    """Return nested lists, dictionaries, numbers and arrays of the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().double().numpy() if not value.is_complex() else value.cpu().numpy()
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if dataclasses.is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    return None if callable(value) else value


def assert_same(computed: Any, expected: Any, where: str) -> None:
    """Compare what :func:`plain` returns: counts exactly, numbers to 1e-6 of the largest of their array.

    Both run the same operators of torch on the CPU but for products and eigenvalues, which OpenBLAS computes
    there: float64 differs in the last digits. A matrix that is stored in float32 is equalised in float32, and
    a p-value of its edge amplifies a difference of 1e-7 a hundred times.
    """
    tolerance = 1e-4 if where.startswith(_EQUALISED) else 1e-6
    if isinstance(expected, dict):
        assert computed.keys() == expected.keys(), where
        for key, each in expected.items():
            assert_same(computed[key], each, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(computed) == len(expected), where
        for index, each in enumerate(expected):
            assert_same(computed[index], each, f"{where}[{index}]")
    elif isinstance(expected, np.ndarray):
        largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
        np.testing.assert_allclose(
            computed, expected, rtol=tolerance, atol=tolerance * largest, err_msg=where
        )
    elif isinstance(expected, float) and not math.isnan(expected):
        assert computed == pytest.approx(expected, rel=tolerance, abs=1e-9), where
    elif not isinstance(expected, float):
        assert computed == expected, where
