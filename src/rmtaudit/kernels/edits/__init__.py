"""Edits of a weight and what they leave of it: quantised, truncated, pruned, factored."""
