"""Resources of the machine: memory, threads, digests of files, progress."""
