"""Deterministic equivalents: what random matrices of networks converge to, from populations and data."""
