"""Numbers that a file writes as text: what Python calls a digit, ``int`` does not always read."""

from __future__ import annotations

import pytest

from rmtaudit.checkpoints.coreml import mil
from rmtaudit.checkpoints.coreml.program import Value
from rmtaudit.checkpoints.keras.quantised import _block

ODD = ["²", "\x1d8", "8\x1f", "٣²", "9" * 5000, "-1", "", " "]


@pytest.mark.parametrize("text", ODD)
def test_a_size_in_a_compiled_program(text: str) -> None:
    """It has no value that could be believed; nothing is raised but by the shape that it makes."""
    literal = f"const()[val = tensor<fp32, [{text}, 2]>([0x0p+0, 0x1p+0])]"
    source = f"program(1.3) {{ func main<ios18>() {{ tensor<fp32, [2, 2]> w = {literal}; }} -> (w); }}"
    ((operation,),) = mil.functions(source).values()
    value = operation.inputs["val"]
    assert isinstance(value, Value)
    assert value.shape[-1] == 2
    assert mil._sizes(f"{text},2")[-1] == 2


@pytest.mark.parametrize("text", [*ODD, "0", "00"])
def test_the_group_of_a_keras_policy(text: str) -> None:
    assert _block(f"int4/{text}", inputs=64, groups=4) == 16


def test_the_group_of_an_ordinary_keras_policy() -> None:
    assert _block("int4/32", inputs=64, groups=2) == 32
    assert _block("int4/128", inputs=64, groups=1) == 64
