"""A numerical library of random matrix theory: what rmtaudit computes with, for use on its own.

Tensors in, tensors or small frozen dataclasses out, in float64 unless stated; random methods take a seed or a
generator. Nothing here knows neural networks or files.
"""

from rmtaudit.linalg import equivalents, flodance, free, htmp, operators, randnla, slq

__all__ = ["equivalents", "flodance", "free", "htmp", "operators", "randnla", "slq"]
