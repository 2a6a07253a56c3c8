"""The spectrum of a larger matrix from principal blocks of it: what ``rmtaudit density`` does."""

from rmtaudit.engine.density.answer import DensityResult, density, save_quantiles
from rmtaudit.engine.density.settings import DensitySettings

__all__ = ["DensityResult", "DensitySettings", "density", "save_quantiles"]
