"""Settings: presets, configuration files, and the keys that they may hold."""
