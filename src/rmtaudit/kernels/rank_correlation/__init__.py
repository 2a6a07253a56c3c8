"""Kendall's rank correlation within strata, partial and with intervals and p-values."""
