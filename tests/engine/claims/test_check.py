"""Claims about candidates that the tests make, each with an answer that is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.engine.claims import Answer, ClaimAnswer, Ground, check_claim, parse_claim
from rmtaudit.engine.claims.codes import _answer
from rmtaudit.engine.claims.limits import limit_of
from rmtaudit.engine.claims.merges import claim_agreement
from rmtaudit.engine.claims.parse import AdapterClaim, CastClaim, MergeClaim, QuantisedClaim
from rmtaudit.errors import NothingAuditableError, UsageError
from rmtaudit.kernels.claims.codes import CodeCounts
from rmtaudit.kernels.merges.regression import fit_merge, merge_sums

State = dict[str, torch.Tensor]
NOISY = "layers.1.v_proj.weight"


@pytest.fixture(scope="module")
def base() -> State:
    generator = torch.Generator().manual_seed(11)
    names = [f"layers.{layer}.{part}_proj.weight" for layer in (0, 1) for part in "qkv"]
    weights = {name: 0.02 * torch.randn(64, 256, generator=generator) for name in names}
    return {**weights, "norm.weight": 1 + 0.1 * torch.randn(256, generator=generator)}


def _save(path: Path, state: State) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


def _checked(tmp_path: Path, base: State, candidate: State | Path, claim: str) -> ClaimAnswer:
    path = candidate if isinstance(candidate, Path) else _save(tmp_path / "candidate.safetensors", candidate)
    with open_checkpoint(_save(tmp_path / "base.safetensors", base)) as one, open_checkpoint(path) as other:
        return check_claim(one, other, claim)


def _noisy(base: State, size: float) -> State:
    generator = torch.Generator().manual_seed(12)
    weight = base[NOISY]
    return {**base, NOISY: weight + size * weight.std() * torch.randn(weight.shape, generator=generator)}


def _wrong(answer: ClaimAnswer) -> list[str]:
    return [tensor.name for tensor in answer.tensors if tensor.answer is Answer.INCONSISTENT]


def test_claims_are_read() -> None:
    assert parse_claim("bf16 of BASE") == CastClaim("bfloat16")
    q4 = parse_claim("Q4_K_M of BASE")
    assert isinstance(q4, QuantisedClaim)
    assert q4.schemes == ("Q4_K",)
    assert parse_claim("lora:some/folder@0.5") == AdapterClaim("some/folder", 0.5)
    assert parse_claim("lora:some/folder") == AdapterClaim("some/folder", None)
    assert parse_claim("merge: .5 A + 0.25 b/c.safetensors") == MergeClaim(
        ((0.5, "A"), (0.25, "b/c.safetensors"))
    )


@pytest.mark.parametrize("text", ["", "Q9_K of BASE", "merge: A + B", "lora:", "merge: 1e999 A", "of BASE"])
def test_other_claims_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="RA-US-812"):
        parse_claim(text)


def test_casts(tmp_path: Path, base: State) -> None:
    cast = {name: tensor.bfloat16() for name, tensor in base.items()}
    answer = _checked(tmp_path, base, cast, "bf16 of BASE")
    assert answer.answer is Answer.CONSISTENT
    assert {tensor.ground for tensor in answer.tensors} == {Ground.EQUAL}
    other = {name: tensor.bfloat16() for name, tensor in _noisy(base, 0.01).items()}
    answer = _checked(tmp_path, base, other, "bf16 of BASE")
    assert (answer.answer, _wrong(answer)) == (Answer.INCONSISTENT, [NOISY])
    assert NOISY in answer.sentence


def _int8(state: State) -> State:
    stored: State = {}
    for name, weight in state.items():
        if weight.ndim == 1:
            stored[name] = weight
            continue
        scale = weight.abs().amax(1, keepdim=True) / 127
        stored[name] = (weight / scale).round().to(torch.int8)
        stored[f"{name}_scale"] = scale
    return stored


def _fp8(state: State) -> State:
    stored: State = {}
    for name, weight in state.items():
        if weight.ndim == 1:
            stored[name] = weight
            continue
        scale = weight.abs().amax(1, keepdim=True) / 448
        stored[name] = (weight / scale).to(torch.float8_e4m3fn)
        stored[f"{name}_scale"] = scale
    return stored


@pytest.mark.parametrize(("encode", "claim"), [(_int8, "int8 of BASE"), (_fp8, "fp8 of BASE")])
def test_eight_bits(tmp_path: Path, base: State, encode: Callable[[State], State], claim: str) -> None:
    assert _checked(tmp_path, base, encode(base), claim).answer is Answer.CONSISTENT
    answer = _checked(tmp_path, base, encode(_noisy(base, 0.001)), claim)
    if encode is _int8:
        assert (answer.answer, _wrong(answer)) == (Answer.INCONSISTENT, [NOISY])
    answer = _checked(tmp_path, base, encode(_noisy(base, 0.1)), claim)
    assert (answer.answer, _wrong(answer)) == (Answer.INCONSISTENT, [NOISY])


def test_numbers_are_not_quantised(tmp_path: Path, base: State) -> None:
    answer = _checked(tmp_path, base, base, "int8 of BASE")
    assert answer.answer is Answer.INCONSISTENT
    assert Ground.NOT_QUANTISED in {tensor.ground for tensor in answer.tensors}


def _gguf(path: Path, state: State, kind: str) -> Path:
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    for name, tensor in state.items():
        if tensor.ndim == 1:
            writer.add_tensor(name, tensor.numpy())
        else:
            number = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(name, gguf.quants.quantize(tensor.numpy(), number), raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("kind", ["Q4_0", "Q5_1", "Q8_0", "MXFP4"])
def test_gguf(tmp_path: Path, base: State, kind: str) -> None:
    claim = f"{kind} of BASE"
    path = _gguf(tmp_path / "honest.gguf", base, kind)
    assert _checked(tmp_path, base, path, claim).answer is Answer.CONSISTENT
    path = _gguf(tmp_path / "noisy.gguf", _noisy(base, 0.1), kind)
    answer = _checked(tmp_path, base, path, claim)
    assert (answer.answer, _wrong(answer)) == (Answer.INCONSISTENT, [NOISY])


def test_another_type_is_not_the_claimed_one(tmp_path: Path, base: State) -> None:
    path = _gguf(tmp_path / "q8.gguf", base, "Q8_0")
    answer = _checked(tmp_path, base, path, "Q4_K_M of BASE")
    assert answer.answer is Answer.INCONSISTENT
    assert {t.ground for t in answer.tensors} == {Ground.OTHER_SCHEME, Ground.EQUAL}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, base: State) -> tuple[Path, State]:
    folder = tmp_path_factory.mktemp("adapter")
    generator = torch.Generator().manual_seed(13)
    factors: State = {}
    updates: State = {}
    for name in base:
        if "k_proj" in name or "norm" in name:
            continue
        down, up = (0.05 * torch.randn(shape, generator=generator) for shape in ((4, 256), (64, 4)))
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        factors |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
        updates[name] = 2 * up @ down
    _save(folder / "adapter_model.safetensors", factors)
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder, updates


@pytest.mark.parametrize(
    ("scale", "parts", "asked", "answer", "word"),
    [
        (1.0, "qv", "", Answer.CONSISTENT, "applied"),
        (0.5, "qv", "", Answer.INCONSISTENT, "applied with scale 0.5"),
        (0.5, "qv", "@0.5", Answer.CONSISTENT, "applied with scale 0.5"),
        (1.0, "q", "", Answer.INCONSISTENT, "partly applied, not in 2 of 4 modules"),
        (0.0, "", "", Answer.INCONSISTENT, "not applied"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adapters(
    tmp_path: Path, base: State, adapter: tuple[Path, State], dtype: torch.dtype, scale: float, parts: str,
    asked: str, answer: Answer, word: str,
) -> None:  # fmt: skip
    folder, updates = adapter
    used = {name: update for name, update in updates.items() if any(f"{part}_proj" in name for part in parts)}
    stored = {name: (weight + scale * used.get(name, 0 * weight)).to(dtype) for name, weight in base.items()}
    checked = _checked(tmp_path, base, stored, f"lora:{folder}{asked}")
    assert (checked.answer, checked.word) == (answer, word)
    if word == "applied":
        # In float32 the sums of a product depend on their order, so that a last bit may differ.
        least = 0.99 if dtype is torch.bfloat16 else 0.7
        assert min(tensor.numbers.get("exact", 1.0) for tensor in checked.tensors) > least


def test_an_adapter_of_another_model_is_refused(tmp_path: Path, base: State) -> None:
    other = _save(
        tmp_path / "other.safetensors",
        {"x.lora_A.weight": torch.ones(2, 7), "x.lora_B.weight": torch.ones(5, 2)},
    )
    with pytest.raises(UsageError, match="RA-US-813"):
        _checked(tmp_path, base, base, f"lora:{other}")


def test_merges(tmp_path: Path, base: State) -> None:
    generator = torch.Generator().manual_seed(14)
    paths = []
    tuned: list[State] = []
    for name in ("math", "code"):
        tuned.append({key: W + 0.005 * torch.randn(W.shape, generator=generator) for key, W in base.items()})
        paths.append(_save(tmp_path / f"{name}.safetensors", tuned[-1]))
    merged = {key: (0.3 * tuned[0][key] + 0.7 * tuned[1][key]).bfloat16() for key in base}
    right = f"merge: .3 {paths[0]} + .7 {paths[1]}"
    assert _checked(tmp_path, base, merged, right).answer is Answer.CONSISTENT
    wrong = _checked(tmp_path, base, merged, f"merge: .5 {paths[0]} + .5 {paths[1]}")
    assert wrong.answer is Answer.INCONSISTENT
    assert "0.3, 0.7" in wrong.sentence
    answer = _checked(tmp_path, base, _noisy(merged, 0.5), right)
    assert (answer.answer, _wrong(answer)) == (Answer.INCONSISTENT, [NOISY])


@pytest.mark.parametrize(
    ("errors", "answer"),
    [
        (0.0, Answer.CONSISTENT),
        (2.1, Answer.CONSISTENT),  # .036 of one coefficient, .072 of two
        (2.5, Answer.UNDECIDED),  # .025 of two
        (3.4, Answer.UNDECIDED),  # .0013 of two
        (3.6, Answer.INCONSISTENT),  # .0006 of two
    ],
)
def test_levels_of_claimed_coefficients(errors: float, answer: Answer) -> None:
    generator = torch.Generator().manual_seed(15)
    change, first, second = (torch.randn(64, 64, generator=generator) for _ in range(3))
    fit = fit_merge(merge_sums(change, [first, second]))
    assert fit is not None
    one, other = fit.coefficients
    rounding = 0.001
    assert claim_agreement(fit, [one.value, other.value + rounding]) is Answer.CONSISTENT
    off = other.value + rounding + errors * other.standard_error
    assert claim_agreement(fit, [one.value, off]) is answer


def test_checkpoints_without_a_common_tensor_are_refused(tmp_path: Path, base: State) -> None:
    with pytest.raises(NothingAuditableError, match="RA-NA-009"):
        _checked(tmp_path, base, {"else": torch.ones(3, 5)}, "bf16 of BASE")


def test_document_is_strict_json(tmp_path: Path, base: State) -> None:
    answer = _checked(tmp_path, base, _int8(base), "int8 of BASE")
    document = json.loads(json.dumps(answer.document(), allow_nan=False))
    assert document["schema"] == {"name": "rmtaudit.claim", "version": "1.0"}
    assert document["answer"] == "consistent"
    assert all(tensor["reason"] for tensor in document["tensors"])


@pytest.mark.parametrize(
    ("scheme", "answer"),
    [
        ("GPTQ int4", Answer.UNDECIDED),
        ("AWQ int4", Answer.UNDECIDED),
        ("NVFP4", Answer.UNDECIDED),
        ("Q4_K", Answer.INCONSISTENT),
    ],
)
def test_codes_beyond_a_limit_that_was_not_measured_prove_nothing(scheme: str, answer: Answer) -> None:
    counts = CodeCounts(judged=10_000, misplaced=5_000, squared_steps=4.0 * 10_000, inside=10_000)
    result = _answer("w", scheme, counts, limit_of(scheme), torch.zeros(100, 100))
    assert result.answer is answer
    assert result.ground is (Ground.CODES_DIFFER if answer is Answer.INCONSISTENT else Ground.NOT_CALIBRATED)
