"""Quantised weights: from the codes, scales and zero points of a module to the weight that they stand for.

The decision is taken for each tensor, from what lies beside it (:mod:`~.modules`); one module of this package
holds the schemes of one family. A module whose scheme is not known is skipped as a whole.
"""

from rmtaudit.checkpoints.schemes.decoded import decoded

__all__ = ["decoded"]
