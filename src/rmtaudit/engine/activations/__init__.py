"""Activations of networks: the covariance of what each layer is given on some samples."""
