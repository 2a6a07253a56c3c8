"""Keras models and weights: HDF5 files, and ``.keras`` archives that hold one."""
