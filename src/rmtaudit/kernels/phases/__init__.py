"""Phases of training, from the spectrum of a weight matrix."""
