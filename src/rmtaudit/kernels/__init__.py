"""The mathematics: pure functions from torch tensors to tensors or small frozen dataclasses."""
