"""Whether a quantised weight can come from a given weight: the test of its codes."""
