"""The shipped presets, one YAML file each: the settings that ``rmtaudit.engine.presets`` starts from."""
