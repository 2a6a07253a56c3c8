"""Inputs that are made, not given: text of the model's own, random tokens, noise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rmtaudit.checkpoints.files import read_small
from rmtaudit.engine.networks import Network, Samples, open_samples
from rmtaudit.engine.networks.network import main_tensor
from rmtaudit.engine.probe.settings import ProbeSettings
from rmtaudit.errors import UsageError
from rmtaudit.kernels.harm.noise import images_of_noise

_ROUNDS = 8
"""Rounds in which the positions of a masked model are filled: a choice."""
_LARGEST = 1 << 24
"""Of a tokenizer's configuration, in bytes."""
_CAUSAL, _MASKED = ("ForCausalLM", "LMHeadModel"), ("ForMaskedLM", "ForPreTraining")


def inputs_for(network: Network, settings: ProbeSettings, folder: Path | None) -> tuple[Samples, str]:
    """Return the inputs of a probe, and what they are in words.

    Parameters
    ----------
    network
        To be run on them. A causal language model writes them itself, from its distribution at temperature
        1; a masked one fills masks in random order. Other networks that read tokens get uniformly random
        ones, between those that its tokenizer puts around a text; networks that read images get Gaussian
        noise with the spectrum of photographs.
    settings
        Number, length, seed; or a file of samples, or the shape of an input.
    folder
        Of the model, if it has one.

    Raises
    ------
    UsageError
        RA-PB-002: what the network reads is not known. Also as opening samples does.
    """
    if settings.data is not None:
        samples = open_samples(Path(settings.data), network, limit=settings.samples)
        return samples, f"the first {len(samples)} samples of {samples.name}"
    generator = torch.Generator().manual_seed(settings.seed)
    config = getattr(network.module, "config", None)
    if settings.input_shape is not None:
        return _noise(network, settings, settings.input_shape, generator)
    if network.tokens is not None:
        return _tokens(network, settings, folder, generator)
    size = getattr(config, "image_size", None)
    if network.main_input == "pixel_values" and size is not None:
        height, width = (size, size) if isinstance(size, int) else tuple(size)
        shape = (int(getattr(config, "num_channels", 3)), int(height), int(width))
        return _noise(network, settings, shape, generator)
    raise UsageError(
        "RA-PB-002",
        "The network does not state what inputs it takes.",
        hint="Give the shape of one input: --input-shape 3,32,32; or inputs: --data FILE.npz.",
        where=network.name,
    )


def _noise(
    network: Network, settings: ProbeSettings, shape: tuple[int, ...], generator: torch.Generator
) -> tuple[Samples, str]:
    count, sides = settings.samples, " x ".join(map(str, shape))
    if len(shape) == 3 and min(shape[1:]) > 1:
        values = images_of_noise((count, shape[0], shape[1], shape[2]), generator)
        words = f"{count} of Gaussian noise with the spectrum of photographs, {sides}"
    else:
        values = torch.randn((count, *shape), generator=generator, dtype=torch.float64)
        words = f"{count} of Gaussian noise, {sides}"
    return _samples({network.main_input: values.to(network.dtype)}, words), words


def _tokens(
    network: Network, settings: ProbeSettings, folder: Path | None, generator: torch.Generator
) -> tuple[Samples, str]:
    assert network.tokens is not None
    vocabulary, longest = network.tokens.vocabulary or _first_embedding(network), network.tokens.longest
    length = settings.tokens if longest is None else min(settings.tokens, longest)
    before, after = _frame(network, length)
    free = length - len(before) - len(after)
    ids = torch.randint(vocabulary, (settings.samples, free), generator=generator)
    kind, words = type(network.module).__name__, "random tokens"
    mask = _mask_token(network, folder) if kind.endswith(_MASKED) else None
    if kind.endswith(_CAUSAL):
        start = torch.tensor(before or [_beginning(network, vocabulary)]).expand(settings.samples, -1)
        rows, words = _written(network, start, length, generator), "text that the network writes"
    else:
        around = [torch.tensor(part, dtype=torch.int64) for part in (before, after)]
        rows = torch.cat([each.expand(settings.samples, -1) for each in (around[0], ids, around[1])][:3], 1)
        if mask is not None:
            rows = _filled(network, rows, slice(len(before), length - len(after)), mask, generator)
            words = "text that the network fills in"
    key = "input_ids" if network.keywords and "input_ids" in network.keywords else network.main_input
    arrays = {key: rows}
    if getattr(getattr(network.module, "config", None), "is_encoder_decoder", False):
        arrays["decoder_input_ids"] = torch.randint(vocabulary, rows.shape, generator=generator)
    words = f"{settings.samples} x {length} tokens: {words}"
    return _samples(arrays, words), words


def _written(network: Network, start: torch.Tensor, length: int, generator: torch.Generator) -> torch.Tensor:
    """Return sequences that a causal language model samples, shape ``(samples, length)``."""
    rows, cache = start.clone(), None
    # Transformers 5 renames the keyword.
    keyword = "cache" if "cache" in (network.keywords or ()) else "past_key_values"
    with torch.no_grad():
        while rows.shape[1] < length:
            step = rows if cache is None else rows[:, -1:]
            more: dict[str, Any] = {} if cache is None else {keyword: cache}
            caching = {"use_cache": True} if network.accepts("use_cache") else {}
            returned = network.module(input_ids=step.to(network.device), **caching, **more)
            cache = getattr(returned, "past_key_values", None)
            rows = torch.cat([rows, _drawn(returned.logits[:, -1], generator)[:, None]], 1)
    return rows


def _filled(
    network: Network, rows: torch.Tensor, place: slice, mask: int, generator: torch.Generator
) -> torch.Tensor:
    """Return sequences whose masked positions a masked language model has filled, some in each round."""
    rows = rows.clone()
    rows[:, place] = mask
    width = rows[:, place].shape[1]
    order = torch.stack([torch.randperm(width, generator=generator) for _ in range(len(rows))])
    with torch.no_grad():
        for chosen in order.tensor_split(_ROUNDS, dim=1):
            returned = main_tensor(network.module(input_ids=rows.to(network.device)))
            assert returned is not None
            for row, places in zip(range(len(rows)), chosen + (place.start or 0), strict=True):
                rows[row, places] = _drawn(returned[row, places.to(returned.device)], generator)
    return rows


def _drawn(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    shares = logits.double().softmax(-1).cpu()
    if not len(shares):
        return torch.zeros(0, dtype=torch.int64)
    return torch.multinomial(shares, 1, generator=generator)[:, 0]


def _frame(network: Network, length: int) -> tuple[list[int], list[int]]:
    """Return the tokens that the tokenizer puts before and after a text."""
    if network.tokens is None or network.tokens.encode is None:
        return [], []
    (ids,), _ = network.tokens.encode([""])
    if len(ids) == 1 and ids[0] == getattr(getattr(network.module, "config", None), "eos_token_id", None):
        return ([], []) if length == 1 else ([], ids)  # T5 ends a text, and does not begin it
    half = (len(ids) + 1) // 2
    return ([], []) if len(ids) >= length else (ids[:half], ids[half:])


def _mask_token(network: Network, folder: Path | None) -> int | None:
    """Return the token that stands for a masked one; ``None`` where the folder does not say."""
    if folder is None or network.tokens is None or network.tokens.encode is None:
        return None
    path = folder / "tokenizer_config.json"
    try:
        named = json.loads(read_small(path, _LARGEST)).get("mask_token") if path.is_file() else None
    except (ValueError, AttributeError):
        return None
    text = named.get("content") if isinstance(named, Mapping) else named
    if not isinstance(text, str):
        return None
    (empty, ids), _ = network.tokens.encode(["", text])
    half = (len(empty) + 1) // 2
    inner = ids[half : len(ids) - (len(empty) - half)]
    return inner[0] if len(inner) == 1 else None


def _beginning(network: Network, vocabulary: int) -> int:
    token = getattr(getattr(network.module, "config", None), "bos_token_id", None)
    return token if isinstance(token, int) and 0 <= token < vocabulary else 0


def _first_embedding(network: Network) -> int:
    return next(
        each.num_embeddings for each in network.module.modules() if isinstance(each, torch.nn.Embedding)
    )


def _samples(arrays: Mapping[str, torch.Tensor], words: str) -> Samples:
    digest = hashlib.sha256()
    for key, each in arrays.items():
        digest.update(f"{key}\0{each.dtype}{tuple(each.shape)}".encode())
        digest.update(each.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    count = len(next(iter(arrays.values())))
    return Samples(
        name=words,
        count=count,
        arrays=dict(arrays),
        tokens=None,
        labels=None,
        truncated=0,
        digest=f"sha256:{digest.hexdigest()}",
    )
