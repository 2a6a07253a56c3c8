"""Frozen TensorFlow graphs: the weights are constants of the graph."""
