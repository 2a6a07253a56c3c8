"""Every public kernel on the pretend GPU: the numbers of the CPU, and no operator between two devices.

Where torch has a GPU, the same rows run on it.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import kernel_rows_comparisons
import kernel_rows_free
import kernel_rows_laws
import kernel_rows_matrices
import kernel_rows_series
import kernel_rows_weights
import numpy as np
import pytest
import torch
from host_kernels import HOST_KERNELS
from kernel_inputs import Row
from pretend_gpu import DEVICE, DeviceError, pretend_gpu
from public_kernels import public_kernels, recorded

ROWS: dict[str, Row] = {
    **kernel_rows_matrices.ROWS,
    **kernel_rows_comparisons.ROWS,
    **kernel_rows_weights.ROWS,
    **kernel_rows_series.ROWS,
    **kernel_rows_free.ROWS,
    **kernel_rows_laws.ROWS,
}
SLOW = {
    "decompression": {"free.validation.choose"},
    "quarters of a block": {"extrapolation.nested.nested_scores"},
    "prediction of a larger matrix": {
        "extrapolation.prediction.predict",
        "extrapolation.witness.witness",
        "free.decompression.decompress_spectrum",
    },
}
"""Rows that take long on the pretend GPU, and the kernels that run in no other row."""

TOLERANCES = {
    "variance profiles": 1e-4,
    "noise": 1e-4,
    "decompression": 1e-4,
    "quarters of a block": 1e-4,
    "prediction of a larger matrix": 1e-4,
}
"""Relative, where it is not 1e-6. A matrix that is stored in float32 is equalised in float32, and a p-value
of its edge amplifies a difference of 1e-7 a hundred times. Free decompression solves least-squares problems
by interior points on a GPU and by active sets on the CPU: they end at different points of a flat minimum."""
_RAN: dict[str, set[str]] = {}
"""The kernels that each row ran on the pretend GPU, by the name of the row."""


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.slow if each in SLOW else ()) for each in ROWS]
)
def test_a_row_gives_the_numbers_of_the_cpu(name: str) -> None:
    expected = ROWS[name](lambda tensor: tensor)
    with pretend_gpu(), recorded(_RAN.setdefault(name, set())):
        computed = plain(ROWS[name](lambda tensor: tensor.to(DEVICE)))
    assert_same(computed, plain(expected), name)
    assert _RAN[name] >= SLOW.get(name, set())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("name", ROWS)
def test_a_row_gives_the_numbers_of_the_cpu_on_a_real_gpu(name: str) -> None:
    expected = ROWS[name](lambda tensor: tensor)
    assert_same(plain(ROWS[name](lambda tensor: tensor.cuda())), plain(expected), name)


@pytest.mark.parametrize("name", HOST_KERNELS)
def test_a_kernel_of_the_host_takes_no_tensor_of_the_device(name: str) -> None:
    kernel = HOST_KERNELS[name]
    assert kernel.reason.endswith(".")
    assert kernel.call(lambda tensor: tensor) is not None
    with pretend_gpu():
        try:
            returned = kernel.call(lambda tensor: tensor.to(DEVICE))
        except (DeviceError, RuntimeError):
            return
    assert returned is None, "it takes a tensor of the device: it has a row, and no reason"


def test_every_public_kernel_ran_on_the_device() -> None:
    for name in ROWS.keys() - SLOW.keys() - _RAN.keys():  # where this test runs alone
        with pretend_gpu(), recorded(_RAN.setdefault(name, set())):
            ROWS[name](lambda tensor: tensor.to(DEVICE))
    ran, in_slow_rows = set().union(*_RAN.values()), set().union(*SLOW.values())
    assert sorted(public_kernels().keys() - ran - in_slow_rows - HOST_KERNELS.keys()) == [], "without a row"
    assert sorted(HOST_KERNELS.keys() & ran) == [], "kernels of the host that have a row"
    assert sorted(HOST_KERNELS.keys() - public_kernels().keys()) == [], "no kernel has this name"


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
    there: float64 differs in the last digits. See :data:`TOLERANCES`.
    """
    tolerance = TOLERANCES.get(re.split(r"[.\[]", where)[0], 1e-6)
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
