"""Noise floors of weight matrices: Marchenko-Pastur laws, their edges, spikes beyond them, and tests."""
