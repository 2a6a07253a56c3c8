"""TensorFlow Lite models: operators and tensors in one FlatBuffer."""
