"""GGUF, the format of llama.cpp: a header of facts and tensors, then blocks of quantised values."""
