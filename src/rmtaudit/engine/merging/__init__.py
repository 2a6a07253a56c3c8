"""What a merged model is made of: the coefficients of its parents, and what else was done."""

from rmtaudit.engine.merging.answer import MergeAnswer, MergedLayer
from rmtaudit.engine.merging.run import explain_merge

__all__ = ["MergeAnswer", "MergedLayer", "explain_merge"]
