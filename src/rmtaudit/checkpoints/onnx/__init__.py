"""ONNX models: graphs of operators, with initialisers in the file or in files beside it."""
