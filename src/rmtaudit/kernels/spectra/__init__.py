"""Spectra: Gram matrices, their eigenvalues with an error bound, and norms and ranks of a spectrum."""
