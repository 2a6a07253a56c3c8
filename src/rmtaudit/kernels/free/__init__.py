"""Free decompression: the spectrum of a large matrix from that of a small principal block."""
