"""Graphs of operators: which constant is a weight, of which operator, in which order of sides.

ONNX, TensorFlow Lite and frozen TensorFlow graphs are read alike: constants and operators are parsed by their
own packages, :mod:`~rmtaudit.checkpoints.graphs.expressions` says how a value comes of the constants, and
:mod:`~rmtaudit.checkpoints.graphs.claims` turns what operators take into roles.
"""
