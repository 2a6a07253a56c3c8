"""What a scan would do with every tensor of a checkpoint, from its header alone."""
