"""Whether the codes of a quantised tensor are those of the base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.levels import Levels
from rmtaudit.engine.claims.answer import Answer, Ground, TensorAnswer
from rmtaudit.engine.claims.casts import STAGES, staged
from rmtaudit.engine.claims.limits import Limit, Test, limit_of
from rmtaudit.engine.pairs import PairValues
from rmtaudit.kernels.claims.codes import CodeCounts, code_counts
from rmtaudit.kernels.claims.scales import scaled_to

if TYPE_CHECKING:
    import torch


def check_codes(values: PairValues, levels: Levels, config: Mapping[str, Any]) -> TensorAnswer:
    """Return whether the codes of one tensor fit the base, or the base stored as float16 or bfloat16 before.

    Parameters
    ----------
    values
        The pair, its candidate quantised.
    levels
        Of the candidate, in the orientation of the base.
    config
        The base's ``config.json``: the number of heads, where rows of query and key are in another order.
    """
    import torch

    pair, base, stored = values
    encoding = pair.candidate.encoding
    scheme = "" if encoding is None else encoding.scheme
    limit = limit_of(scheme)
    table = torch.tensor(levels.table, dtype=torch.float64)
    best: CodeCounts | None = None
    for weight in _orders(pair.candidate.name, base, config):
        for stage in STAGES:
            wanted = staged(weight, stage)
            if limit.test is Test.SCALED:
                wanted = scaled_to(stored, wanted)
            counts = code_counts(stored, wanted, origin=levels.origin, step=levels.step, table=table)
            if best is None or counts.share < best.share:
                best = counts
            if limit.test is not Test.DISTANCE and limit.allows(best.misplaced, best.judged):
                return _answer(pair.name, scheme, best, limit, stored)
    assert best is not None
    return _answer(pair.name, scheme, best, limit, stored)


def _answer(name: str, scheme: str, counts: CodeCounts, limit: Limit, stored: torch.Tensor) -> TensorAnswer:
    distant = limit.test is Test.DISTANCE
    fits = counts.rms <= limit.near if distant else limit.allows(counts.misplaced, counts.judged)
    if fits:
        answer, ground = Answer.CONSISTENT, Ground.CODES_FIT
    elif limit.measured:
        answer, ground = Answer.INCONSISTENT, Ground.CODES_DIFFER
    else:
        answer, ground = Answer.UNDECIDED, Ground.NOT_CALIBRATED
    return TensorAnswer(
        name=name,
        answer=answer,
        ground=ground,
        parameters=stored.numel(),
        numbers={
            "scheme": scheme,
            "codes": counts.judged,
            "misplaced": counts.misplaced,
            "share": counts.share,
            "limit": limit.most,
            "rms": counts.rms,
        },
    )


def _orders(name: str, base: torch.Tensor, config: Mapping[str, Any]) -> Iterator[torch.Tensor]:
    """Yield the base, and for query and key of GGUF files also in the order of rows of llama.cpp.

    llama.cpp pairs neighbouring rows in its rotary embedding, the original code rows half a head apart
    (``LlamaModel.permute`` in ``convert_hf_to_gguf.py``).
    """
    yield base
    key = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
    for part, field in key.items():
        heads = config.get(field, config.get("num_attention_heads"))
        if part in name and isinstance(heads, int) and heads > 0 and base.shape[0] % (2 * heads) == 0:
            parts = base.reshape(heads, 2, base.shape[0] // heads // 2, -1)
            yield parts.transpose(1, 2).reshape(base.shape)
