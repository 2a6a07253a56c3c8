"""From stored tensors to matrices: what a tensor is, and which matrices are made of it."""
