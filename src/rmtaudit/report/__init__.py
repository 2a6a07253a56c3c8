"""The result of a scan and its formats. Everything is rendered from the one report object."""
