"""``rmtaudit rank``: whether a spectral metric adds to the size of models in their order of quality."""
