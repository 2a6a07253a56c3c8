"""Constants of the architecture, recognised by value: masks, position tables, filter banks, fixed kernels."""

from rmtaudit.kernels.constants.recognise import Constant, recognise_constant

__all__ = ["Constant", "recognise_constant"]
