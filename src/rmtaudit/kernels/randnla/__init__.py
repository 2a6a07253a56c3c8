"""Randomised numerical linear algebra: low-rank approximations and norms by probes, each with its error."""
