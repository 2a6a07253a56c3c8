"""The pretend GPU itself: it refuses what a GPU refuses, and counts what a GPU waits for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from kernel_inputs import normal, seeded
from pretend_gpu import DEVICE, DeviceError, PretendTensor, allow_indexing, pretend_gpu
from torch._subclasses import FakeTensorMode

REFUSED: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {
    "a sum of two devices": lambda there, here: there + here,
    "a product of two devices": lambda there, here: here @ there.T,
    "writing to the CPU in place": lambda there, here: here.add_(there),
    "a matrix with a vector that was made on the CPU": lambda there, _: there * torch.ones(3),
    "boundaries on the CPU": lambda there, _: torch.bucketize(there, torch.zeros(2)),
    "numpy": lambda there, _: there.numpy(),
    "numpy, by the back door": lambda there, _: np.asarray(there),
    "a generator of the CPU": lambda *_: torch.randn(3, device="cuda", generator=seeded()),
    "another driver of lstsq": lambda there, _: torch.linalg.lstsq(there, there, driver="gelsd"),
    "an operator that CUDA lacks": lambda there, _: torch.histogram(there, 4),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_gpu_refuses_is_refused(name: str) -> None:
    here = normal(4, 3).float()
    with pretend_gpu(), pytest.raises((DeviceError, RuntimeError)):
        REFUSED[name](here.to(DEVICE), here)


def test_values_are_those_of_the_cpu() -> None:
    here = normal(5, 4)
    with pretend_gpu():
        there = here.to("cuda")
        assert isinstance(there, PretendTensor)
        assert there.device == DEVICE
        assert (there.T @ there).cpu().equal(here.T @ here)
        assert there[there > 0].tolist() == here[here > 0].tolist()
        assert float(there.sum()) == float(here.sum())
        changed = there.clone()
        changed[0] = 1.0
        changed[:, 1] = changed[:, 2]
        changed[torch.tensor([2, 3])] += 1.0
        changed = changed.cpu()
    expected = here.clone()
    expected[0] = 1.0
    expected[:, 1] = expected[:, 2]
    expected[torch.tensor([2, 3])] += 1.0
    assert changed.equal(expected)


def test_waits_and_transfers_are_counted() -> None:
    here = normal(8, 8)
    with pretend_gpu() as traffic:
        there = here.to("cuda")
        assert (traffic.waits, traffic.to_device_bytes) == (0, 512)
        product = there @ there
        assert traffic.waits == 0
        float(product[0, 0])
        bool((there > 0).all())
        product.tolist()
        there[there > 0]
        assert traffic.waits == 4
        assert traffic.to_host_bytes == 1 + 1 + 512 + 8


def test_fake_tensors_can_be_indexed_and_still_refuse_two_devices() -> None:
    allow_indexing()
    with FakeTensorMode():
        there = torch.empty(4, 3, device="cuda:0")
        assert there[0].device == DEVICE
        with pytest.raises(RuntimeError, match="device"):
            there + torch.empty(4, 3)
