"""Tails of samples: which laws describe them, how well that is known, and whether they can be told apart."""
