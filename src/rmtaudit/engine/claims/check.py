"""A claim about a candidate, checked tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator
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
from rmtaudit.errors import CorruptError, NothingAuditableError
from rmtaudit.matrices.tensors import FLOATING

if TYPE_CHECKING:
    from rmtaudit.engine.claims.parse import Claim

_WORK = 80
"""Bytes an entry that the levels and the sums in float64 take: measured, rounded up."""

_SUPER_BLOCK = 256
"""Weights of a block of most types of llama.cpp: other types serve rows that are no multiple of it."""


def check_claim(base: Checkpoint, candidate: Checkpoint, claim: str | Claim) -> ClaimAnswer:
    """Return whether a candidate agrees with what is claimed of it.

    Parameters
    ----------
    base, candidate
        Opened checkpoints; they stay open.
    claim
        As :func:`~rmtaudit.engine.claims.parse.parse_claim` reads it.

    Raises
    ------
    UsageError
        RA-US-812: the claim cannot be understood.
    NothingAuditableError
        RA-NA-009: the two checkpoints have no tensor in common.
    InputError
        A checkpoint that the claim names cannot be read.
    """
    said = parse_claim(claim) if isinstance(claim, str) else claim
    words = claim if isinstance(claim, str) else repr(claim)
    names = (words, str(base.path), str(candidate.path))
    if isinstance(said, MergeClaim):
        return check_merge(base, candidate, said, words)
    if isinstance(said, AdapterClaim):
        return check_adapter(base, candidate, said, words)
    tensors = tuple(_tensors(base, candidate, said))
    if not any(tensor.ground is not Ground.MISSING for tensor in tensors):
        raise NothingAuditableError(
            "RA-NA-009",
            "The two checkpoints have no tensor in common.",
            hint="Base and candidate must be models of one architecture.",
            where=str(candidate.path),
        )
    return concluded(*names, tensors)


def _tensors(
    base: Checkpoint, candidate: Checkpoint, claim: CastClaim | QuantisedClaim
) -> Iterator[TensorAnswer]:
    pairing = paired(base, candidate, content=False)
    reader, levels = PairReader(base, candidate, work=_WORK), LevelReader(candidate)
    main = isinstance(claim, QuantisedClaim) and any(
        pair.candidate.encoding is not None and _named(pair.candidate.encoding.scheme, claim.schemes)
        for pair in pairing.pairs
    )
    for pair in pairing.pairs:
        refused = _refused(pair, reader)
        if refused is not None:
            yield _undecided(pair.base, refused)
            continue
        try:
            values = reader.read(pair)
        except CorruptError:
            yield _undecided(pair.base, Ground.UNREADABLE)
            continue
        if isinstance(claim, CastClaim):
            yield check_cast(pair.name, values.base, values.candidate, claim.dtype)
        else:
            yield _quantised(values, levels, claim, base, main=main)
    for ref in (*pairing.only_base, *pairing.only_candidate):
        yield _undecided(ref, Ground.MISSING)


def _refused(pair: Pair, reader: PairReader) -> Ground | None:
    if pair.base.shape != pair.candidate.shape and pair.base.shape != pair.candidate.shape[::-1]:
        return Ground.SHAPES_DIFFER
    return Ground.BEYOND_MEMORY if reader.refusal(pair) is not None else None


def _quantised(
    values: PairValues, levels: LevelReader, claim: QuantisedClaim, base: Checkpoint, *, main: bool
) -> TensorAnswer:
    pair = values.pair
    encoding = pair.candidate.encoding
    if encoding is None:
        return _stored_as_numbers(values, main=main)
    # Other types are for some tensors of a file of the claimed type, and for rows that it does not fit.
    others = claim.others if main or pair.candidate.spec.shape[-1] % _SUPER_BLOCK else ()
    if not _named(encoding.scheme, claim.schemes) and not _named(encoding.scheme, others):
        return TensorAnswer(
            name=pair.name,
            answer=Answer.INCONSISTENT,
            ground=Ground.OTHER_SCHEME,
            parameters=pair.base.parameters,
            numbers={"scheme": encoding.scheme},
        )
    known = levels.read(pair)
    if known is None:
        return _undecided(pair.base, Ground.UNKNOWN_LEVELS, scheme=encoding.scheme)
    return check_codes(values, known, base.config)


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
