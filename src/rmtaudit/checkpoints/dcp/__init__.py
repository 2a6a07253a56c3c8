"""Folders of ``torch.distributed.checkpoint``: tensors in chunks, over the files of many processes."""
