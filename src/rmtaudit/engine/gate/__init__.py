"""A policy applied to checkpoints: what a gate of CI runs. Judging a saved report imports no torch."""
