"""A claim about a candidate, checked tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.claims.adapters import check_adapter
from rmtaudit.engine.claims.answer import Answer, ClaimAnswer, Ground, TensorAnswer, concluded
from rmtaudit.engine.claims.casts import check_cast
from rmtaudit.engine.claims.codes import check_codes
from rmtaudit.engine.claims.merges import check_merge
from rmtaudit.engine.claims.parse import AdapterClaim, CastClaim, MergeClaim, QuantisedClaim, parse_claim
from rmtaudit.engine.pairs import Pair, PairReader, PairValues, TensorRef, paired
from rmtaudit.engine.pairs.levels import LevelReader
from rmtaudit.engine.resources.memory import MemoryGate, free_memory
from rmtaudit.engine.resources.pool import Pool
from rmtaudit.errors import CorruptError, NothingAuditableError
from rmtaudit.matrices.tensors import FLOATING

if TYPE_CHECKING:
    from rmtaudit.engine.claims.parse import Claim

_WORK = 80
"""Bytes an entry that the levels and the sums in float64 take: measured, rounded up."""

_SUPER_BLOCK = 256
"""Weights of a block of most types of llama.cpp: other types serve rows that are no multiple of it."""


def check_claim(
    base: Checkpoint,
    candidate: Checkpoint,
    claim: str | Claim,
    *,
    memory: int | None = None,
    threads: int | None = None,
) -> ClaimAnswer:
    """Return whether a candidate agrees with what is claimed of it.

    Parameters
    ----------
    base, candidate
        Opened checkpoints; they stay open.
    claim
        As :func:`~rmtaudit.engine.claims.parse.parse_claim` reads it.
    memory
        Bytes for the matrices in flight; half of what is free where ``None``. A tensor that needs more is
        not told.
    threads
        Tensors of a cast or of a quantisation that are checked at the same time; as many as there are CPUs
        where ``None``. Adapters and merges are checked one matrix at a time.

    Raises
    ------
    UsageError
        RA-US-812: the claim cannot be understood.
    NothingAuditableError
        RA-NA-009: the two checkpoints have no tensor in common.
    InputError
        A checkpoint that the claim names cannot be read.
    """
    parsed = parse_claim(claim) if isinstance(claim, str) else claim
    words = claim if isinstance(claim, str) else repr(claim)
    names = (words, str(base.path), str(candidate.path))
    budget = free_memory() // 2 if memory is None else memory
    if isinstance(parsed, MergeClaim):
        return check_merge(base, candidate, parsed, words, memory=budget)
    if isinstance(parsed, AdapterClaim):
        return check_adapter(base, candidate, parsed, words, memory=budget)
    tensors = _tensors(base, candidate, parsed, budget, threads)
    if not any(tensor.ground is not Ground.MISSING for tensor in tensors):
        raise NothingAuditableError(
            "RA-NA-009",
            "The two checkpoints have no tensor in common.",
            hint="Base and candidate must be models of one architecture.",
            where=str(candidate.path),
        )
    return concluded(*names, tensors)


def _tensors(
    base: Checkpoint,
    candidate: Checkpoint,
    claim: CastClaim | QuantisedClaim,
    budget: int,
    threads: int | None,
) -> tuple[TensorAnswer, ...]:
    """Read the pairs in order, and check as many at the same time as the memory allows."""
    import torch

    from rmtaudit.engine.resources.threads import cpus, one_thread_each

    pairing = paired(base, candidate, content=False)
    reader, levels = PairReader(base, candidate, budget=budget, work=_WORK), LevelReader(candidate)
    main = isinstance(claim, QuantisedClaim) and any(
        pair.candidate.encoding is not None and _named(pair.candidate.encoding.scheme, claim.schemes)
        for pair in pairing.pairs
    )
    gate = MemoryGate(budget)
    answers: dict[int, TensorAnswer] = {}

    def submit(place: int, pair: Pair, check: Callable[[], TensorAnswer]) -> None:
        def work() -> None:
            try:
                answers[place] = check()
            finally:
                gate.release(_size(pair))

        pool.submit(work)

    initialise = partial(torch.set_num_threads, 1)
    with one_thread_each(), Pool(threads or cpus(), initialise=initialise) as pool:
        for place, pair in enumerate(pairing.pairs):
            refused = _refused(pair, reader)
            if refused is not None:
                answers[place] = _undecided(pair.base, refused)
                continue
            gate.acquire(_size(pair))
            try:
                values = reader.read(pair)
                check = _check(values, levels, claim, base, main=main)
            except CorruptError:
                gate.release(_size(pair))
                answers[place] = _undecided(pair.base, Ground.UNREADABLE)
                continue
            submit(place, pair, check)
        pool.join()
    unmatched = [_undecided(ref, Ground.MISSING) for ref in (*pairing.only_base, *pairing.only_candidate)]
    return (*(answers[place] for place in range(len(pairing.pairs))), *unmatched)


def _size(pair: Pair) -> int:
    return pair.base.bytes_read + pair.candidate.bytes_read + _WORK * pair.base.parameters


def _check(
    values: PairValues,
    levels: LevelReader,
    claim: CastClaim | QuantisedClaim,
    base: Checkpoint,
    *,
    main: bool,
) -> Callable[[], TensorAnswer]:
    """Return what is left to be computed for a pair once everything is read."""
    if isinstance(claim, CastClaim):
        return partial(check_cast, values.pair.name, values.base, values.candidate, claim.dtype)
    return _quantised(values, levels, claim, base, main=main)


def _refused(pair: Pair, reader: PairReader) -> Ground | None:
    if pair.base.shape != pair.candidate.shape and pair.base.shape != pair.candidate.shape[::-1]:
        return Ground.SHAPES_DIFFER
    return Ground.BEYOND_MEMORY if reader.refusal(pair) is not None else None


def _quantised(
    values: PairValues, levels: LevelReader, claim: QuantisedClaim, base: Checkpoint, *, main: bool
) -> Callable[[], TensorAnswer]:
    pair = values.pair
    encoding = pair.candidate.encoding
    if encoding is None:
        return partial(_stored_as_numbers, values, main=main)
    # Other types are for some tensors of a file of the claimed type, and for rows that it does not fit.
    others = claim.others if main or pair.candidate.spec.shape[-1] % _SUPER_BLOCK else ()
    if not _named(encoding.scheme, claim.schemes) and not _named(encoding.scheme, others):
        other_scheme = TensorAnswer(
            name=pair.name,
            answer=Answer.INCONSISTENT,
            ground=Ground.OTHER_SCHEME,
            parameters=pair.base.parameters,
            numbers={"scheme": encoding.scheme},
        )
        return lambda: other_scheme
    known = levels.read(pair)
    if known is None:
        return partial(_undecided, pair.base, Ground.UNKNOWN_LEVELS, scheme=encoding.scheme)
    return partial(check_codes, values, known, base.config)


def _stored_as_numbers(values: PairValues, *, main: bool) -> TensorAnswer:
    """Check a tensor without codes: a cast of the base. The claimed scheme must occur somewhere."""
    pair = values.pair
    if not main and pair.base.layer is not None:
        return TensorAnswer(
            name=pair.name,
            answer=Answer.INCONSISTENT,
            ground=Ground.NOT_QUANTISED,
            parameters=pair.base.parameters,
        )
    if pair.candidate.dtype not in FLOATING:
        return check_cast(pair.name, values.base, values.candidate, "float64")
    cast = check_cast(pair.name, values.base, values.candidate, pair.candidate.dtype)
    # AWQ folds its factors into norms and biases; the converter of llama.cpp adds 1 to norms, and more.
    if cast.answer is Answer.INCONSISTENT and pair.base.layer is None:
        return _undecided(pair.base, Ground.TRANSFORMED)
    return cast


def _named(scheme: str, names: tuple[str, ...]) -> bool:
    return any(name == scheme or (name in scheme and not name.startswith(("Q", "IQ"))) for name in names)


def _undecided(ref: TensorRef, ground: Ground, **numbers: object) -> TensorAnswer:
    return TensorAnswer(
        name=ref.name, answer=Answer.UNDECIDED, ground=ground, parameters=ref.parameters, numbers=numbers
    )
