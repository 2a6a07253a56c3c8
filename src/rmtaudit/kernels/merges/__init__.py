"""Merged models: the coefficients of the parents, and what else was done."""
