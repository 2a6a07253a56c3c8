"""The shipped presets, one YAML file each; ``rmtaudit.engine.settings.presets`` reads them."""
