"""Whether a checkpoint is what it is claimed to be, of a given base."""

from rmtaudit.engine.claims.answer import Answer, ClaimAnswer, Ground, TensorAnswer
from rmtaudit.engine.claims.check import check_claim
from rmtaudit.engine.claims.parse import Claim, parse_claim

__all__ = ["Answer", "Claim", "ClaimAnswer", "Ground", "TensorAnswer", "check_claim", "parse_claim"]
