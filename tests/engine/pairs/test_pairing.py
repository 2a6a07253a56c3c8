"""Which tensors of two checkpoints correspond, and their values in one orientation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.engine.pairs import Layout, Match, Pairing, PairReader, opened, paired
from rmtaudit.engine.pairs.sides import SideReader
from rmtaudit.matrices.skips import SkipReason


def _matrix(rows: int, cols: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


def _bert(layers: int = 3, width: int = 16) -> dict[str, torch.Tensor]:
    state = {"embeddings.word_embeddings.weight": _matrix(40, width, 999)}
    for index in range(layers):
        stem = f"encoder.layer.{index}"
        for place, name in enumerate(("query", "key", "value")):
            state[f"{stem}.attention.self.{name}.weight"] = _matrix(width, width, 10 * index + place)
            state[f"{stem}.attention.self.{name}.bias"] = _matrix(width, 1, 10 * index + place + 5)[:, 0]
        state[f"{stem}.intermediate.dense.weight"] = _matrix(2 * width, width, 100 + index)
    return state


def _by_name(pairing: Pairing) -> dict[str, str]:
    return {pair.base.name: pair.candidate.name for pair in pairing.pairs}


def test_equal_names_are_matched_whatever_their_order() -> None:
    state = _bert()
    pairing = paired(opened(state), opened(dict(reversed(state.items()))))

    assert _by_name(pairing) == {name: name for name in state}
    assert {pair.how for pair in pairing.pairs} == {Match.NAME}
    assert [pair.name for pair in pairing.pairs] == list(state)
    assert not pairing.only_base
    assert not pairing.only_candidate


def test_another_prefix_is_found_and_the_block_is_kept() -> None:
    """Query, key and value of all blocks have one shape: only the prefix tells them apart."""
    state = _bert()
    renamed = {f"model.bert.{name}": torch.rand_like(tensor) for name, tensor in state.items()}
    pairing = paired(opened(state), opened(renamed))

    assert _by_name(pairing) == {name: f"model.bert.{name}" for name in state}
    assert {pair.how for pair in pairing.pairs} == {Match.SUFFIX}


def test_two_towers_under_one_name_are_told_apart_by_content() -> None:
    tower = {f"body.{index}.dense.weight": _matrix(24, 24, index) for index in range(4)}
    other = {name: _matrix(24, 24, 50 + index) for index, name in enumerate(tower)}
    base = {**{f"left.{name}": t for name, t in other.items()}, **{f"right.{n}": t for n, t in tower.items()}}
    pairing = paired(opened(base), opened(tower))

    assert _by_name(pairing) == {f"right.{name}": name for name in tower}
    assert {ref.name for ref in pairing.only_base} == {f"left.{name}" for name in other}


def test_names_of_hugging_face_and_gguf_meet_at_their_place_in_the_block() -> None:
    ours, theirs = {}, {}
    for index in range(2):
        for name, other in (("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
                            ("mlp.up_proj", "ffn_up"), ("mlp.gate_proj", "ffn_gate")):  # fmt: skip
            ours[f"model.layers.{index}.{name}.weight"] = _matrix(16, 16, 10 * len(name) + index)
            theirs[f"blk.{index}.{other}.weight"] = _matrix(16, 16, 2000 + index)
    pairing = paired(opened(ours), opened(theirs), content=False)

    assert _by_name(pairing)["model.layers.1.self_attn.k_proj.weight"] == "blk.1.attn_k.weight"
    assert {pair.how for pair in pairing.pairs} == {Match.ROLE}
    assert len(pairing.pairs) == len(ours)


def test_renamed_copies_are_matched_by_content_also_transposed() -> None:
    base = {f"a{index}": _matrix(20, 30, index) for index in range(3)} | {"square": _matrix(32, 32, 77)}
    noise = 0.1 * _matrix(30, 20, 42)
    candidate = {"x": base["a2"] + noise.T, "y": base["a0"].T + noise, "z": base["a1"].clone(),
                 "w": base["square"].T.clone()}  # fmt: skip
    pairing = paired(opened(base), opened(candidate))

    assert _by_name(pairing) == {"a0": "y", "a1": "z", "a2": "x", "square": "w"}
    assert {pair.how for pair in pairing.pairs} == {Match.CONTENT}
    layouts = {pair.name: pair.layout for pair in pairing.pairs}
    assert layouts["a0"] is Layout.TRANSPOSED
    assert layouts["a1"] is Layout.SAME


def test_unrelated_matrices_are_not_matched_by_content() -> None:
    base = {f"a{index}": _matrix(40, 40, index) for index in range(20)}
    candidate = {f"b{index}": _matrix(40, 40, 100 + index) for index in range(20)}
    pairing = paired(opened(base), opened(candidate))

    assert not pairing.pairs
    assert len(pairing.only_base) == len(pairing.only_candidate) == 20


def test_a_fused_projection_is_matched_with_its_parts_both_ways() -> None:
    state = _bert(layers=2)
    fused = {name: tensor for name, tensor in state.items() if "attention" not in name}
    for index in range(2):
        stem = f"encoder.layer.{index}.attention.self"
        for leaf in ("weight", "bias"):
            parts = [state[f"{stem}.{name}.{leaf}"] for name in ("query", "key", "value")]
            fused[f"{stem}.all_in_one.{leaf}"] = torch.cat(parts)
    for base, candidate, layout in ((state, fused, Layout.FUSED), (fused, state, Layout.SPLIT)):
        pairing = paired(opened(base), opened(candidate))
        reader = PairReader(opened(base), opened(candidate))
        assert not pairing.only_base
        assert not pairing.only_candidate
        assert sum(pair.layout is layout for pair in pairing.pairs) == 12
        for values in reader.values(pairing, skip=lambda *_: None):
            assert torch.equal(values.base, values.candidate), values.pair.name


def test_what_has_no_counterpart_is_listed() -> None:
    state = _bert()
    more = {**state, "head.weight": _matrix(5, 16, 3)}
    pairing = paired(opened(state), opened(more))

    assert [ref.name for ref in pairing.only_candidate] == ["head.weight"]


def test_equal_names_with_other_shapes_are_no_pair() -> None:
    pairing = paired(opened({"a.weight": _matrix(8, 6, 0)}), opened({"a.weight": _matrix(8, 7, 0)}))

    assert not pairing.pairs


def test_values_come_in_the_orientation_of_the_base_and_their_stored_dtype() -> None:
    matrix = _matrix(12, 8, 0)
    base, candidate = opened({"a.weight": matrix}), opened({"a.weight": matrix.T.bfloat16().contiguous()})
    (values,) = PairReader(base, candidate).values(paired(base, candidate), skip=lambda *_: None)

    assert values.pair.layout is Layout.TRANSPOSED
    assert values.candidate.dtype is torch.bfloat16
    assert torch.equal(values.candidate, matrix.bfloat16())


def test_a_pair_beyond_the_budget_is_skipped_with_the_reason() -> None:
    state = {"large.weight": _matrix(64, 64, 0), "small.weight": _matrix(4, 4, 0)}
    base, candidate = opened(state), opened(state)
    skipped = []
    reader = PairReader(base, candidate, budget=20_000)
    read = list(reader.values(paired(base, candidate), skip=lambda pair, skip: skipped.append((pair, skip))))

    assert [values.pair.name for values in read] == ["small.weight"]
    assert [(pair.name, skip.reason) for pair, skip in skipped] == [
        ("large.weight", SkipReason.BEYOND_MEMORY)
    ]


def test_weight_norm_is_undone_before_the_comparison() -> None:
    direction, magnitude = _matrix(6, 10, 0), torch.rand(6, 1) + 0.5
    normed = {"a.weight_v": direction, "a.weight_g": magnitude}
    plain = {"a.weight": direction * magnitude / direction.norm(dim=1, keepdim=True)}
    base, candidate = opened(normed), opened(plain)
    (values,) = PairReader(base, candidate).values(paired(base, candidate), skip=lambda *_: None)

    torch.testing.assert_close(values.base, values.candidate)


@pytest.mark.parametrize("turned", [False, True])
def test_the_gates_of_a_keras_file_are_those_of_its_arrays_elsewhere(
    turned: bool, shared: Callable[..., Path], tmp_path: Path
) -> None:
    path = shared("models", "chars2vec", "eng_50.h5")
    with open_checkpoint(path) as keras:
        state = {spec.name: keras.read(spec.name).contiguous().clone() for spec in keras.tensors}
        kernels = [name for name in state if name.endswith("kernel")]
        changed = {name: values.bfloat16() for name, values in state.items()}
        save_file(changed, tmp_path / "arrays.safetensors")
        with open_checkpoint(tmp_path / "arrays.safetensors") as arrays:
            base, candidate = (arrays, keras) if turned else (keras, arrays)
            pairing = paired(base, candidate)
            names = [pair.name for pair in pairing.pairs]
            assert names == [pair.candidate.name for pair in pairing.pairs]
            assert {f"{name}#{gate}" for name in kernels for gate in "ifco"} <= set(names)
            assert not pairing.only_base
            assert not pairing.only_candidate
            dtypes = {(pair.base.dtype, pair.candidate.dtype) for pair in pairing.pairs}
            assert dtypes == {("bfloat16", "float32") if turned else ("float32", "bfloat16")}
            readers = SideReader(base), SideReader(candidate)
            for pair in pairing.pairs:
                left, right = readers[0].read(pair.base), readers[1].read(pair.candidate)
                assert torch.equal(left.bfloat16(), right.bfloat16())


@pytest.mark.parametrize("file", ["ml_kws/DNN_S.pb", "ml_kws/DS_CNN_S.pb", "mlperf_tiny/resnet8_int8.tflite"])
def test_kernels_lie_in_a_plain_container_as_in_the_one_that_states_their_sides(
    file: str, shared: Callable[..., Path], tmp_path: Path
) -> None:
    with open_checkpoint(shared("models", *file.split("/"))) as stated:
        state = {spec.name: stated.read(spec.name).contiguous().clone() for spec in stated.tensors}
        save_file(state, tmp_path / "arrays.safetensors")
        with open_checkpoint(tmp_path / "arrays.safetensors") as arrays:
            pairing = paired(stated, arrays)
            readers = SideReader(stated), SideReader(arrays)
            assert not pairing.only_base
            assert not pairing.only_candidate
            for pair in pairing.pairs:
                left, right = readers[0].read(pair.base), readers[1].read(pair.candidate)
                assert torch.equal(left.float(), right.float())
    states = [opened({"fc": _matrix(9, 5, 1)}), opened({"fc": _matrix(9, 5, 1)})]
    assert _by_name(paired(*states)) == {"fc": "fc"}  # neither states anything


def test_an_array_of_other_values_is_not_taken_for_that_of_a_keras_file(
    shared: Callable[..., Path], tmp_path: Path
) -> None:
    with open_checkpoint(shared("models", "chars2vec", "eng_50.h5")) as keras:
        state = {spec.name: keras.read(spec.name).contiguous().clone() for spec in keras.tensors}
        state["lstm_2/kernel"] = _matrix(50, 200, 3)
        save_file(state, tmp_path / "arrays.safetensors")
        with open_checkpoint(tmp_path / "arrays.safetensors") as arrays:
            pairing = paired(keras, arrays)
            assert {ref.spec.name for ref in pairing.only_base} == {"lstm_2/kernel"}
            assert [ref.name for ref in pairing.only_candidate] == ["lstm_2/kernel"]
