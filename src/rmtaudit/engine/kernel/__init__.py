"""Kernels of networks: the neural tangent kernel and the conjugate kernel of some samples, block by block."""
