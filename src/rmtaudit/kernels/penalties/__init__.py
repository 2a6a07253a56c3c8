"""Differentiable functions of the spectrum of a matrix, to be added to the loss of a training."""
