"""A second opinion: numbers of a report recomputed with other people's libraries.

Nothing here calls a reader or a kernel of this package for the number that it checks: bytes are read by
``safetensors`` or ``torch.load``, spectra are LAPACK's singular values, fits are those of ``powerlaw``.
"""
