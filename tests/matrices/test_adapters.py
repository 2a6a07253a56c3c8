from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.matrices.adapter_scale import UNSCALED, stated_scale
from rmtaudit.matrices.layers import Layer, LayerKind
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import TensorSpec

IN, OUT, RANK = 20, 11, 3
DOWN = torch.randn(RANK, IN, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
UP = torch.randn(OUT, RANK, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def specs(tensors: dict[str, torch.Tensor]) -> list[TensorSpec]:
    return [
        TensorSpec(name=name, shape=tuple(values.shape), dtype=str(values.dtype).removeprefix("torch."))
        for name, values in tensors.items()
    ]


def spectra(
    tensors: dict[str, torch.Tensor], config: dict[str, object] | None = None
) -> dict[str, tuple[Layer, torch.Tensor]]:
    """Return every layer by its name, with its singular values, largest first."""
    plan = plan_layers(specs(tensors), adapter_config=config)
    taken = [name for layer in plan.layers for name in layer.tensors]
    assert {*taken, *(skip.spec.name for skip in plan.skipped)} == set(tensors)
    found = {}
    for layer in plan.layers:
        given = tuple(tensors[name] for name in layer.tensors)
        if layer.band is not None:
            given = tuple(tensor[slice(*layer.band)] for tensor in given)
        (matrix,) = layer.build(given)
        found[layer.name] = (layer, torch.linalg.svdvals(matrix.double()))
    return found


def check(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Compare singular values; those that a core leaves out are zero."""
    values = torch.linalg.svdvals(expected.double())
    size = max(len(values), len(found))
    pad = torch.nn.functional.pad
    torch.testing.assert_close(
        pad(found, (0, size - len(found))),
        pad(values, (0, size - len(values))),
        rtol=1e-10,
        atol=1e-12 * float(values[0]),
    )


SPELLINGS = [
    ("base_model.model.q.lora_A.weight", "base_model.model.q.lora_B.weight", "base_model.model.q"),
    ("q.lora_A.default.weight", "q.lora_B.default.weight", "q"),
    ("q.lora_a.weight", "q.lora_b.weight", "q"),
    ("q.lora_a", "q.lora_b", "q"),
    ("blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b", "blk.0.attn_q.weight"),
    (
        "lora_unet_down_0_to_q.lora_down.weight",
        "lora_unet_down_0_to_q.lora_up.weight",
        "lora_unet_down_0_to_q",
    ),
    ("lora_te_a_in.lora_down.weight", "lora_te_a_in.lora_up.weight", "lora_te_a_in"),
    ("u.processor.to_q_lora.down.weight", "u.processor.to_q_lora.up.weight", "u.processor.to_q_lora"),
    ("u.to_q.lora_linear_layer.down.weight", "u.to_q.lora_linear_layer.up.weight", "u.to_q"),
    ("u.to_q.lora.down.weight", "u.to_q.lora.up.weight", "u.to_q"),
    ("p.qkv_lora1.down.weight", "p.qkv_lora1.up.weight", "p.qkv_lora1"),
    ("e.lora_embedding_A", "e.lora_embedding_B", "e"),
    ("q.lora_in.weight", "q.lora_out.weight", "q"),
    ("q.lora_right", "q.lora_left", "q"),
    ("lora_A", "lora_B", "lora"),
    ("text_encoder:3:down", "text_encoder:3:up", "text_encoder:3"),
]


@pytest.mark.parametrize(("down", "up", "stem"), SPELLINGS)
@pytest.mark.parametrize("stored", ["straight", "transposed", "down", "up"])
def test_a_pair_in_any_spelling_and_orientation_is_one_update(
    down: str, up: str, stem: str, stored: str
) -> None:
    a = DOWN.T.contiguous() if stored in ("transposed", "down") else DOWN
    b = UP.T.contiguous() if stored in ("transposed", "up") else UP
    found = spectra({up: b, down: a})
    assert list(found) == [stem]
    layer, values = found[stem]
    assert layer.kind is LayerKind.ADAPTER
    assert layer.shape == ((IN, OUT) if "embedding" in down else (OUT, IN))
    assert layer.parameters == RANK * (IN + OUT)
    check(values, UP @ DOWN)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("mlp.down.weight", "mlp.up.weight"),
        ("attn.q_a_proj.weight", "attn.q_b_proj.weight"),
        ("lora_unet_in.diff.weight", "lora_unet_out.diff.weight"),
        ("q.lora_A.weight", "q.lora_up.weight"),
        ("q.lora_A.weight", "k.lora_B.weight"),
        ("q.lora_A.one.weight", "q.lora_B.two.weight"),
        ("explora_a.weight", "explora_b.weight"),
    ],
)
def test_other_pairs_are_no_adapters(first: str, second: str) -> None:
    assert {layer.kind for layer, _ in spectra({first: DOWN, second: UP}).values()} == {LayerKind.DENSE}


def test_a_stored_alpha_is_divided_by_the_rank() -> None:
    tensors = {"q.lora_down.weight": DOWN, "q.lora_up.weight": UP, "q.alpha": torch.tensor(6.0)}
    layer, values = spectra(tensors)["q"]
    assert layer.tensors == ("q.lora_down.weight", "q.lora_up.weight", "q.alpha")
    assert "scaled by its alpha/3" in layer.view
    check(values, UP @ DOWN * 2)


def test_magnitudes_of_dora_belong_to_their_module() -> None:
    for name in ("q.lora_magnitude_vector.weight", "q.lora_magnitude_vector", "q.dora_scale", "q.m"):
        found = spectra({"q.lora_A.weight": DOWN, "q.lora_B.weight": UP, name: torch.rand(OUT)})
        assert list(found) == ["q"]
        assert name in found["q"][0].tensors
        assert "a DoRA magnitude of 11 values" in found["q"][0].view


@pytest.mark.parametrize(
    ("config", "factor", "words"),
    [
        ({"lora_alpha": 6, "r": 3}, 2.0, "alpha/r = 6/3"),
        ({"lora_alpha": 6, "r": 3, "use_rslora": True}, 6 / math.sqrt(3), "alpha/sqrt(r) = 6/sqrt(3)"),
        ({"lora_alpha": 6, "r": 8, "rank_pattern": {"attn.q": 3}}, 2.0, "6/3"),
        ({"lora_alpha": 6, "r": 3, "alpha_pattern": {"q": 9}}, 3.0, "9/3"),
        ({"lora_alpha": 6, "r": 3, "alpha_pattern": {"^model.attn\\.q": 9, "q": 12}}, 3.0, "9/3"),
        ({"lora_alpha": 6, "r": 3, "alpha_pattern": {"^q": 9}}, 2.0, "6/3"),
        ({"lora_alpha": 6, "r": 3, "alpha_pattern": {"tq": 9}}, 2.0, "6/3"),
        ({"lora_alpha": 6, "r": 3, "alpha_pattern": {".*q": 9}}, 1.0, "patterns that are not names"),
        ({"lora_alpha": 6, "r": 4}, 1.0, "states the rank 4"),
        ({"r": 3}, 1.0, "unscaled"),
        ({"lora_alpha": "6", "r": 3}, 1.0, "unscaled"),
        ({"lora_alpha": 10**400, "r": 3}, 1.0, "unscaled"),
        ({"lora_alpha": float("nan"), "r": 3}, 1.0, "unscaled"),
        ({"lora_parameters": {"rank": 3, "scale": 20.0}}, 20.0, "scaled by 20"),
        ({}, 1.0, "unscaled"),
    ],
)
def test_the_scale_that_a_configuration_states(config: dict[str, object], factor: float, words: str) -> None:
    stem = "base_model.model.model.attn.q"
    layer, values = spectra({f"{stem}.lora_A.weight": DOWN, f"{stem}.lora_B.weight": UP}, config)[stem]
    check(values, UP @ DOWN * factor)
    assert words in layer.view


def test_a_stored_alpha_comes_before_the_configuration() -> None:
    tensors = {"q.lora_A.weight": DOWN, "q.lora_B.weight": UP, "q.alpha": torch.tensor(3.0)}
    check(spectra(tensors, {"lora_alpha": 30, "r": 3})["q"][1], UP @ DOWN)


@given(
    st.dictionaries(st.text(max_size=6), st.one_of(st.none(), st.text(), st.integers(), st.lists(st.text())))
)
def test_any_configuration_gives_a_scale(patterns: dict[str, object]) -> None:
    for key in ("alpha_pattern", "rank_pattern"):
        scale = stated_scale({"lora_alpha": 6, "r": 3, key: patterns}, "a.b", 3)
        assert math.isfinite(scale.factor)
    assert stated_scale(patterns, "a.b", 3) == UNSCALED


def test_a_convolution_is_the_product_of_its_flattened_factors() -> None:
    down, up = torch.randn(4, 6, 3, 3), torch.randn(8, 4, 1, 1)
    layer, values = spectra({"c.lora_down.weight": down, "c.lora_up.weight": up})["c"]
    assert layer.shape == (8, 54)
    check(values, up.double().flatten(1) @ down.double().flatten(1))


def test_a_tucker_core_is_multiplied_in() -> None:
    down, mid, up = torch.randn(4, 6, 1, 1), torch.randn(5, 4, 3, 3), torch.randn(8, 5, 1, 1)
    tensors = {"c.lora_down.weight": down, "c.lora_mid.weight": mid, "c.lora_up.weight": up}
    layer, values = spectra(tensors | {"c.alpha": torch.tensor(2.0)})["c"]
    weight = torch.einsum("pq,qrhw,ri->pihw", up.flatten(1).double(), mid.double(), down.flatten(1).double())
    assert layer.shape == (8, 54)
    check(values, weight.flatten(1) / 2)


@pytest.mark.parametrize(("rows", "cols", "rank"), [(30, 40, 2), (12, 10, 4)])
def test_loha_is_an_entrywise_product(rows: int, cols: int, rank: int) -> None:
    a1, a2 = torch.randn(2, rows, rank, dtype=torch.float64)
    b1, b2 = torch.randn(2, rank, cols, dtype=torch.float64)
    tensors = {"x.hada_w1_a": a1, "x.hada_w1_b": b1, "x.hada_w2_a": a2, "x.hada_w2_b": b2}
    layer, values = spectra(tensors | {"x.alpha": torch.tensor(float(rank))})["x"]
    assert layer.shape == (rows, cols)
    check(values, (a1 @ b1) * (a2 @ b2))


def test_loha_with_kernels_follows_lycoris() -> None:
    wa, wb = torch.randn(2, 2, 9, dtype=torch.float64), torch.randn(2, 2, 7, dtype=torch.float64)
    t = torch.randn(2, 2, 2, 3, 3, dtype=torch.float64)
    tensors = {f"x.hada_w{i + 1}_a": wa[i] for i in (0, 1)} | {f"x.hada_w{i + 1}_b": wb[i] for i in (0, 1)}
    tensors |= {f"x.hada_t{i + 1}": t[i] for i in (0, 1)}
    layer, values = spectra(tensors)["x"]
    # lycoris/functional/loha.py, weight_gen with t1 and t2
    parts = [torch.einsum("i j k l, j r, i p -> p r k l", t[i], wb[i], wa[i]) for i in (0, 1)]
    assert layer.shape == (9, 63)
    check(values, (parts[0] * parts[1]).flatten(1))


@pytest.mark.parametrize("first", ["whole", "factors"])
@pytest.mark.parametrize("second", ["whole", "factors", "kernel"])
def test_lokr_is_a_kronecker_product(first: str, second: str) -> None:
    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64)

    tensors, rank = {}, 0
    if first == "whole":
        w1 = tensors["x.lokr_w1"] = draw(3, 4)
    else:
        a, b = tensors["x.lokr_w1_a"], tensors["x.lokr_w1_b"] = draw(3, 2), draw(2, 4)
        w1, rank = a @ b, 2
    if second == "whole":
        w2 = tensors["x.lokr_w2"] = draw(5, 6)
    elif second == "factors":
        a, b = tensors["x.lokr_w2_a"], tensors["x.lokr_w2_b"] = draw(5, 2), draw(2, 6)
        w2, rank = a @ b, 2
    else:
        t = tensors["x.lokr_t2"] = draw(2, 2, 3, 3)
        a, b = tensors["x.lokr_w2_a"], tensors["x.lokr_w2_b"] = draw(2, 5), draw(2, 6)
        w2, rank = torch.einsum("i j k l, i p, j r -> p r k l", t, a, b).flatten(1), 2
    layer, values = spectra(tensors | {"x.alpha": torch.tensor(8.0)})["x"]
    assert layer.shape == (15, 24 * (9 if second == "kernel" else 1))
    check(values, torch.kron(w1, w2) * (8 / rank if rank else 1))


def test_what_cannot_be_formed_is_skipped_by_name() -> None:
    shapes = {
        "x.lokr_w1": (64, 64), "x.lokr_w2": (128, 128),
        "y.hada_w1_a": (9000, 96), "y.hada_w1_b": (96, 9000),
        "y.hada_w2_a": (9000, 96), "y.hada_w2_b": (96, 9000),
        "z.lora_A.weight": (4, 8), "z.lora_B.weight": (6, 5),
        "k.lora_down.weight": (4, 8, 3, 3), "k.lora_up.weight": (6, 4, 3, 3),
        "l.lokr_w1": (2, 2), "l.lokr_w2_a": (2, 2),
    }  # fmt: skip
    plan = plan_layers(TensorSpec(name=name, shape=shape, dtype="float32") for name, shape in shapes.items())
    assert not plan.layers
    assert {skip.spec.name for skip in plan.skipped} == set(shapes)
    reasons = {skip.spec.name[0]: skip.reason for skip in plan.skipped}
    assert all(reason.startswith("adapter: ") for reason in reasons.values())
    assert "Kronecker product 8192 x 8192 is too large" in reasons["x"]
    assert "entrywise product 9000 x 9000 is too large" in reasons["y"]
    assert "4 x 8 and 6 x 5 have no side in common" in reasons["z"]
    assert "do not match" in reasons["k"]
    assert "it lacks lokr_w2_b" in reasons["l"]


def test_experts_with_an_update_each() -> None:
    down, up = torch.randn(5, 3, 20, dtype=torch.float64), torch.randn(5, 11, 3, dtype=torch.float64)
    found = spectra({"e.lora_a": down, "e.lora_b": up})
    assert list(found) == [f"e#{index}" for index in range(5)]
    for index, (layer, values) in enumerate(found.values()):
        assert layer.parameters == 93
        check(values, up[index] @ down[index])
    merged = {"e.lora_A.weight": torch.randn(12, 20), "e.lora_B.weight": torch.randn(11, 12)}
    config = {"lora_alpha": 6, "r": 3, "target_parameters": ["experts.up"]}
    assert not spectra(merged, config)


def test_two_adapters_of_a_module_have_names_of_their_own() -> None:
    tensors: dict[str, torch.Tensor] = {}
    for name in ("one", "two"):
        tensors |= {f"q.lora_A.{name}.weight": DOWN, f"q.lora_B.{name}.weight": UP}
    assert list(spectra(tensors)) == ["q#one", "q#two"]


def test_shared_factors_keep_an_update_whole_and_a_shared_update_counts_once() -> None:
    shared = [
        TensorSpec(name="q.lora_A", shape=(3, 20), dtype="float32", alias=1),
        TensorSpec(name="q.lora_B", shape=(11, 3), dtype="float32", alias=2),
        TensorSpec(name="k.lora_A", shape=(3, 20), dtype="float32", alias=1),
        TensorSpec(name="k.lora_B", shape=(11, 3), dtype="float32", alias=3),
        TensorSpec(name="v.lora_A", shape=(3, 20), dtype="float32", alias=1),
        TensorSpec(name="v.lora_B", shape=(11, 3), dtype="float32", alias=2),
    ]
    plan = plan_layers(shared)
    assert [layer.name for layer in plan.layers] == ["q", "k"]
    assert [(skip.spec.name, skip.counted) for skip in plan.skipped] == [
        ("v.lora_A", False),
        ("v.lora_B", False),
    ]


def test_the_coarsest_factor_sets_the_dtype() -> None:
    tensors = {"q.lora_A": DOWN, "q.lora_B": UP.bfloat16(), "q.alpha": torch.tensor(3.0)}
    assert spectra(tensors)["q"][0].dtype == "bfloat16"
