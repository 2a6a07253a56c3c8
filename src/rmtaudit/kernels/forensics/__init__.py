"""The traces that damage leaves in the entries of a matrix: one module a trace, pure functions."""
