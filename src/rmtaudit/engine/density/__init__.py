"""The spectrum of a matrix, or of a larger one from principal blocks: what ``rmtaudit density`` does."""

from rmtaudit.engine.density.answer import DensityResult, density, save_quantiles
from rmtaudit.engine.density.settings import DensitySettings
from rmtaudit.engine.density.whole_answer import WholeResult

__all__ = ["DensityResult", "DensitySettings", "WholeResult", "density", "save_quantiles"]
