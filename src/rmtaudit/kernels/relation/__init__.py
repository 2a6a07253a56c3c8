"""Whether two weight matrices agree unit by unit more than under random relabelling of one of them."""

from rmtaudit.kernels.relation.evaluate import RelabellingTest, Tail, relabelling_test
from rmtaudit.kernels.relation.matching import MatchedSimilarity, matched_similarity
from rmtaudit.kernels.relation.scores import ScoreSum, UnitScores, unit_cosines, unit_scores
from rmtaudit.kernels.relation.stouffer import stouffer_p_value, upper_normal

__all__ = [
    "MatchedSimilarity",
    "RelabellingTest",
    "ScoreSum",
    "Tail",
    "UnitScores",
    "matched_similarity",
    "relabelling_test",
    "stouffer_p_value",
    "unit_cosines",
    "unit_scores",
    "upper_normal",
]
