"""Ridge regression: its error from the spectrum of a sample, and from a population."""
