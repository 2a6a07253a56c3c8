"""The files that the code blocks of the documentation speak of, small, under the names that they use."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from scipy.linalg import eigvalsh_tridiagonal

State = dict[str, torch.Tensor]

NETS = """
import torch
from torch import nn


def cnn():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(72, 10),
    )
"""
WORDS = ("<s>", "</s>", "<unk>", "the", "cat", "sat", "on", "a", "mat", "and", "dog", "ran", "far", "away")


def make_files(folder: Path, examples: Path) -> None:
    """Fill an empty folder; ``examples`` is the folder of shipped checkpoints."""
    (folder / "examples").symlink_to(examples)
    draw = torch.Generator().manual_seed(0)
    _checkpoints(folder, draw)
    _arrays(folder, draw)
    _networks(folder)


def _trained(rows: int, cols: int, draw: torch.Generator) -> torch.Tensor:
    """Return noise with twelve directions that stand out of it, as a trained layer has them."""
    left, right = torch.randn(rows, 12, generator=draw), torch.randn(12, cols, generator=draw)
    strength = torch.linspace(1.0, 0.2, 12)
    return 0.02 * torch.randn(rows, cols, generator=draw) + 0.02 * (left * strength) @ right


def _moved(state: State, size: float, draw: torch.Generator) -> State:
    """Return the state with an update of rank 8 and this relative norm in every matrix."""
    result = dict(state)
    for name, weight in state.items():
        if weight.ndim == 2:
            update = torch.randn(weight.shape[0], 8, generator=draw) @ torch.randn(
                8, weight.shape[1], generator=draw
            )
            result[name] = weight + size * float(weight.norm() / update.norm()) * update
    return result


def _save(state: State, path: Path) -> None:
    """Save as a file, or as the file of a folder."""
    if not path.suffix:
        path.mkdir(parents=True)
        path /= "model.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)


def _checkpoints(folder: Path, draw: torch.Generator) -> None:
    names = (
        "encoder.layer.0.attention.query.weight",
        "encoder.layer.0.weight",
        "encoder.fc.weight",
        "layers.0.attn.q_proj.weight",
        "classifier.weight",
    )
    base: State = {name: _trained(64, 256, draw) for name in names}
    base["encoder.layer.0.weight"] = _trained(256, 256, draw)  # before encoder.fc: hidden units
    base["norm.weight"] = 1 + 0.1 * torch.randn(256, generator=draw)
    math, code = _moved(base, 0.1, draw), _moved(base, 0.1, draw)
    merge = {name: 0.5 * math[name] + 0.5 * code[name] for name in base}
    tuned = _moved(base, 0.03, draw)
    states = {
        "base": base, "math": math, "parent-a": math, "code": code, "parent-b": code,
        "merge": merge, "merged": merge, "result": merge, "tuned": tuned, "upload": tuned, "candidate": tuned,
        "model": base, "good": base, "next": base,
    }  # fmt: skip
    for name, state in states.items():
        _save(state, folder / f"{name}.safetensors")
        if name != "model":  # the folder of that name is a network
            _save(state, folder / name)
    _save({name: weight.bfloat16() for name, weight in base.items()}, folder / "model-bf16")
    for name in ("models", "runs", "zoo"):
        for part, state in (("first", base), ("second", tuned), ("third", math)):
            _save(state, folder / name / part)
    _adapter(folder, base, draw)
    small = {name: base[name] for name in (names[0], "norm.weight")}
    for name, suffix in (("resnet20", "th"), ("resnet32", "th"), ("encoder", "pt"), ("decoder", "pt")):
        torch.save(small, folder / f"{name}.{suffix}")
    arrays: dict[str, Any] = {name: weight.numpy() for name, weight in small.items()}
    np.savez(folder / "checkpoint20.npz", **arrays)
    for archive, members in (("agent", ("encoder",)), ("models", ("encoder", "decoder"))):
        with zipfile.ZipFile(folder / f"{archive}.zip", "w") as file:
            for member in members:
                file.write(folder / f"{member}.pt", f"{member}.pt")
    write_gguf(folder / "model-Q4_K_M.gguf", base, "Q4_K")
    write_gguf(folder / "model-Q8_0.gguf", base, "Q8_0")
    shutil.copyfile(folder / "model-Q8_0.gguf", folder / "model.gguf")


def _adapter(folder: Path, base: State, draw: torch.Generator) -> None:
    """Write an adapter of rank 8 and the folder ``lora`` with its base and it merged in."""
    factors: State = {}
    merged = dict(base)
    for name in list(base)[:2]:
        down, up = (
            0.02 * torch.randn(8, 256, generator=draw),
            0.2 * torch.randn(len(base[name]), 8, generator=draw),
        )
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        factors |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
        merged[name] = base[name] + up @ down
    (folder / "adapter").mkdir()
    save_file(factors, folder / "adapter" / "adapter_model.safetensors")
    configuration = {"peft_type": "LORA", "r": 8, "lora_alpha": 8}
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(configuration))
    _save(merged, folder / "tuned-lora")


def write_gguf(path: Path, state: State, kind: str) -> None:
    """Write a GGUF file whose matrices are quantised, Q4_K to the nearest levels."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    number = gguf.GGMLQuantizationType[kind]
    for name, tensor in state.items():
        if tensor.ndim == 1:
            writer.add_tensor(name, tensor.numpy())
        else:
            encoded = (
                _q4_k(tensor.numpy()) if kind == "Q4_K" else gguf.quants.quantize(tensor.numpy(), number)
            )
            writer.add_tensor(name, encoded, raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _q4_k(weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the blocks of Q4_K: 256 weights in 8 parts, each with a scale and a minimum of 6 bits."""
    parts = weight.reshape(-1, 8, 32).astype(np.float64)
    lowest = np.maximum(-parts.min(-1), 0)
    steps = (parts.max(-1) + lowest) / 15
    d, dmin = ((values.max(-1, keepdims=True) / 63).astype(np.float16) for values in (steps, lowest))
    scale, least = (
        np.clip(np.round(values / unit), 0, 63).astype(np.uint8)
        for values, unit in ((steps, d.astype(np.float64)), (lowest, dmin.astype(np.float64)))
    )
    levels = (parts + (least * dmin.astype(np.float64))[..., None]) / (scale * d.astype(np.float64))[
        ..., None
    ]
    codes = np.clip(np.round(levels), 0, 15).astype(np.uint8).reshape(-1, 4, 2, 32)
    packed = np.concatenate(
        [
            scale[:, :4] | (scale[:, 4:] >> 4) << 6,
            least[:, :4] | (least[:, 4:] >> 4) << 6,
            scale[:, 4:] & 15 | (least[:, 4:] & 15) << 4,
        ],
        axis=1,
    )
    nibbles = (codes[:, :, 0] | codes[:, :, 1] << 4).reshape(-1, 128)
    blocks = np.concatenate([d.view(np.uint8), dmin.view(np.uint8), packed, nibbles], axis=1)
    return blocks.reshape(weight.shape[0], -1)


def _arrays(folder: Path, draw: torch.Generator) -> None:
    features = torch.randn(400, 100, generator=draw, dtype=torch.float64)
    points = torch.rand(600, 2, generator=draw, dtype=torch.float64)
    large = torch.randn(1200, 600, generator=draw, dtype=torch.float64)
    kernel = large @ large.T / 600 + 0.1 * torch.eye(1200, dtype=torch.float64)
    eigenvalues = _wishart_eigenvalues(2000, 4000)
    arrays = {
        "kernel": kernel, "points": points, "eigenvalues": eigenvalues,
        "kernel_eigenvalues": torch.linalg.eigvalsh(kernel),
        "sigma": torch.ones(4000),
        "squared_coefficients": torch.ones(4000),
    }  # fmt: skip
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values.numpy())
    np.savez(folder / "kernels.npz", K=kernel[:200, :200].numpy())
    labels = (features[:, :3].sum(1) > 0).long()
    np.savez(folder / "train.npz", x=features.numpy(), y=labels.numpy())
    edges = torch.randint(0, 5000, (20000, 2), generator=draw)
    rows = "".join(f"{a},{b}\n" for a, b in edges.tolist() if a < b)
    (folder / "edges.csv").write_text(rows)
    norms = torch.rand(2000, generator=draw).rsqrt()
    (folder / "gradient_norms.csv").write_text("".join(f"{norm}\n" for norm in norms.tolist()))
    start = {"schema": {"name": "rmtaudit.training", "version": "1.0"}, "kind": "start"}
    records: list[dict[str, Any]] = [{**start, "parameters": ["layers.3.weight", "layers.3.bias"]}]
    for step in range(6000):
        norm = float(norms[step % 2000])
        records.append({"kind": "gradients", "step": step, "norms": [norm, 0.1 * norm]})
    (folder / "training.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))


def _wishart_eigenvalues(rows: int, cols: int) -> torch.Tensor:
    """Return the eigenvalues of ``X X.T / cols``, X normal (Dumitriu, Edelman 2002)."""
    random = np.random.default_rng(0)
    main, below = (
        np.sqrt(random.chisquare(degrees))
        for degrees in (cols - np.arange(rows), rows - 1 - np.arange(rows - 1))
    )
    diagonal = main**2
    diagonal[1:] += below**2
    return torch.from_numpy(eigvalsh_tridiagonal(diagonal, main[:-1] * below) / cols)


def _networks(folder: Path) -> None:
    """Write a folder of transformers with a tokenizer, functions that make networks, and their inputs."""
    for name in ("nets.py", "net.py"):
        (folder / name).write_text(NETS)
    space: dict[str, Any] = {}
    exec(NETS, space)
    torch.save(space["cnn"]().state_dict(), folder / "cnn.pt")
    values = np.random.default_rng(0).standard_normal((400, 3, 32, 32)).astype(np.float32)
    np.savez(folder / "images.npz", inputs=values)
    np.savez(folder / "digits.npz", inputs=values[:30])
    tokens = np.random.default_rng(0).integers(3, len(WORDS), (4, 6))
    np.savez(folder / "inputs.npz", input_ids=tokens)
    texts = (
        " ".join(WORDS[token] for token in row) for row in np.random.default_rng(1).integers(3, 14, (60, 6))
    )
    (folder / "texts.jsonl").write_text("".join(f"{json.dumps({'text': text})}\n" for text in texts))
    _transformer(folder / "model")


def _transformer(folder: Path) -> None:
    import transformers

    folder.mkdir()
    configuration = transformers.LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64,
        bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(configuration).save_pretrained(folder)
    vocabulary = {word: at for at, word in enumerate(WORDS)}
    tokenizer: dict[str, Any] = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
