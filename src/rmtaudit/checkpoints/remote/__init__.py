"""Checkpoints that are not on this machine: models of the Hugging Face Hub, and files behind a URL."""
