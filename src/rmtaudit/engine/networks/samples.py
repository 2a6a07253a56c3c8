"""Inputs for a network: arrays or token ids from a file, cut into padded batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rmtaudit.engine.networks.network import Batch, Network
from rmtaudit.engine.networks.readers import MASK, Tokens, read_arrays, read_lines
from rmtaudit.engine.sources.words import printed
from rmtaudit.errors import InputError, UsageError
from rmtaudit.names import display_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The samples of a file, for one network.

    Attributes
    ----------
    name
        Printable name of the file.
    count
        Number of samples.
    arrays
        Inputs by keyword, a sample a row, in the dtype in which they are passed; on the CPU.
    tokens
        Token ids by sample, of different lengths; they are padded by :meth:`batch`. ``None`` for arrays.
    labels
        Shape ``(count,)``, int64 or float64, or ``None``.
    truncated
        Number of texts that were cut at the longest sequence of the network.
    digest
        ``sha256:`` of what is passed to the network.
    """

    name: str
    count: int
    arrays: Mapping[str, torch.Tensor]
    tokens: Tokens | None
    labels: torch.Tensor | None
    truncated: int
    digest: str

    def __len__(self) -> int:
        return self.count

    def batch(self, network: Network, indices: Sequence[int]) -> Batch:
        """Return some samples, padded on the right to the longest of them, on the device of the network."""
        chosen = torch.as_tensor(list(indices), dtype=torch.int64)
        inputs = {key: each[chosen].to(network.device) for key, each in self.arrays.items()}
        mask = inputs[MASK].bool() if MASK in inputs else None
        if self.tokens is not None:
            padded, mask = self.tokens.padded(indices, _pad(network))
            inputs.update({key: each.to(network.device) for key, each in padded.items()})
            mask = mask.to(network.device)
            if network.accepts(MASK):
                inputs[MASK] = mask.to(torch.int64)
            if bool(mask.all()):
                mask = None
        labels = None if self.labels is None else self.labels[chosen].to(network.device)
        return Batch(inputs=inputs, indices=tuple(int(i) for i in indices), mask=mask, labels=labels)

    def reordered(self, indices: Sequence[int]) -> Samples:
        """Return some of the samples, in the order of the indices; the digest stays that of the file."""
        chosen = torch.as_tensor(list(indices), dtype=torch.int64)
        return replace(
            self,
            count=len(chosen),
            arrays={key: each[chosen] for key, each in self.arrays.items()},
            tokens=None if self.tokens is None else self.tokens.reordered(chosen.tolist()),
            labels=None if self.labels is None else self.labels[chosen],
        )

    def batches(self, network: Network, size: int) -> Iterator[Batch]:
        """Yield all samples in their order, ``size`` at a time."""
        for start in range(0, self.count, size):
            yield self.batch(network, range(start, min(start + size, self.count)))


def open_samples(path: Path, network: Network, *, limit: int | None = None) -> Samples:
    """Read the samples of a file.

    Parameters
    ----------
    path
        ``.npy``: the main input. ``.npz``: arrays named as keywords of the network's ``forward``, or
        ``inputs``/``x``/``X``/``images``/``data`` for the main input, and ``labels``/``y``/``targets``.
        ``.jsonl``: objects with ``input_ids`` (a list of token ids), or ``text`` where the network has a
        tokenizer, and ``label`` if there are labels.
    network
        Whose inputs they are: its dtype is that of floating inputs. Whole numbers stay whole where the
        network reads tokens, and become floating where it reads numbers.
    limit
        Take the first so many only.

    Raises
    ------
    InputError
        RA-NW-030: no samples, not finite, or of different numbers. RA-NW-031: a line is not of the form
        above. RA-NW-032: tokens beyond the vocabulary or the longest sequence. Also as reading an array does.
    UsageError
        RA-NW-033: an ending or a name of an array that is not known, or text without a tokenizer.
    """
    where = printed(path)
    if path.suffix.lower() in {".npy", ".npz"}:
        return _of_arrays(path, network, limit, where)
    if path.suffix.lower() in {".jsonl", ".ndjson"}:
        return _of_lines(path, network, limit, where)
    raise UsageError(
        "RA-NW-033",
        "Samples are read from .npy, .npz and .jsonl files.",
        hint="numpy.savez('data.npz', inputs=x, labels=y)",
        where=where,
    )


def _of_arrays(path: Path, network: Network, limit: int | None, where: str) -> Samples:
    raw, labels = read_arrays(path, network)
    counts = {key: len(each) if each.ndim else 0 for key, each in raw.items()}
    count = next(iter(counts.values()))
    if labels is not None:
        counts["labels"] = len(labels) if labels.ndim else 0
    if not count or len(set(counts.values())) > 1:
        listed = ", ".join(f"'{display_name(key or 'inputs')}' {n:,}" for key, n in counts.items())
        raise InputError(
            "RA-NW-030",
            f"The arrays have no samples, or different numbers of samples: {listed}.",
            where=where,
        )
    stop = count if limit is None else min(limit, count)
    arrays = {key: _converted(key, each[:stop], network, where) for key, each in raw.items()}
    _check_tokens(arrays, network, where)
    targets = None if labels is None else _labels(labels[:stop], where)
    return Samples(
        name=where,
        count=stop,
        arrays=arrays,
        tokens=None,
        labels=targets,
        truncated=0,
        digest=_digest(arrays.items()),
    )


def _of_lines(path: Path, network: Network, limit: int | None, where: str) -> Samples:
    tokens, labels, truncated = read_lines(path, network, limit)
    if len(set(tokens.lengths)) > 1 and not network.accepts(MASK):
        raise UsageError(
            "RA-NW-033",
            "The samples have different lengths, and the network takes no attention_mask.",
            hint="Give sequences of equal length.",
            where=where,
        )
    flat = {"input_ids": torch.tensor([token for row in tokens.ids for token in row])}
    _check_tokens(flat, network, where)
    longest = network.tokens.longest if network.tokens else None
    if longest is not None and max(tokens.lengths) > longest:
        raise InputError(
            "RA-NW-032",
            f"A sample has {max(tokens.lengths):,} tokens; the network has {longest:,} positions.",
            hint="Cut it.",
            where=where,
        )
    lengths = torch.tensor(tokens.lengths)
    return Samples(
        name=where,
        count=len(tokens.ids),
        arrays={},
        tokens=tokens,
        labels=None if labels is None else _labels(labels, where),
        truncated=truncated,
        digest=_digest([*flat.items(), ("lengths", lengths)]),
    )


def _converted(key: str, array: np.ndarray[Any, Any], network: Network, where: str) -> torch.Tensor:
    """Return an array in the dtype in which the network takes it."""
    kind = array.dtype.kind
    if kind == "b":
        return torch.from_numpy(np.ascontiguousarray(array))
    if kind == "f":
        if not np.isfinite(array).all():
            raise InputError(
                "RA-NW-030",
                f"The array '{display_name(key or 'inputs')}' has values that are not finite.",
                where=where,
            )
        native = array.astype(array.dtype.newbyteorder("="))
        return torch.from_numpy(np.ascontiguousarray(native)).to(network.dtype)
    if kind in "iu":
        whole = torch.from_numpy(np.ascontiguousarray(array.astype(np.int64)))
        numbers = network.tokens is None and key == network.main_input
        return whole.to(network.dtype) if numbers else whole
    raise InputError(
        "RA-NW-030", f"The array '{display_name(key or 'inputs')}' does not hold real numbers.", where=where
    )


def _labels(values: np.ndarray[Any, Any], where: str) -> torch.Tensor:
    if values.dtype.kind in "iub":
        return torch.from_numpy(np.ascontiguousarray(values.astype(np.int64)))
    if values.dtype.kind == "f" and np.isfinite(values).all():
        return torch.from_numpy(np.ascontiguousarray(values.astype(np.float64)))
    raise InputError("RA-NW-030", "The labels are not finite numbers.", where=where)


def _check_tokens(arrays: Mapping[str, torch.Tensor], network: Network, where: str) -> None:
    ids = arrays.get("input_ids", arrays.get(network.main_input))
    if network.tokens is None or ids is None or ids.is_floating_point() or not ids.numel():
        return
    vocabulary = network.tokens.vocabulary
    least, most = int(ids.min()), int(ids.max())
    if least < 0 or (vocabulary is not None and most >= vocabulary):
        of = "" if vocabulary is None else f"; the vocabulary has {vocabulary:,} tokens"
        raise InputError(
            "RA-NW-032",
            f"The token ids range from {least:,} to {most:,}{of}.",
            hint="Use the tokenizer that belongs to the network.",
            where=where,
        )


def _pad(network: Network) -> int:
    return 0 if network.tokens is None else network.tokens.pad


def _digest(parts: Any) -> str:
    digest = hashlib.sha256()
    for key, tensor in parts:
        digest.update(f"{key}\0{tensor.dtype}{tuple(tensor.shape)}".encode("utf-8", "surrogatepass"))
        flat = tensor.contiguous().reshape(-1)
        if flat.numel():
            digest.update(flat.view(torch.uint8).numpy().data)
    return f"sha256:{digest.hexdigest()}"
