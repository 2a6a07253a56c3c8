"""Harm without data: how far noise and edits of one layer move what a network returns."""
