"""From the words of a command line to a matrix source."""

from rmtaudit.engine.sources.opening import open_source
from rmtaudit.engine.sources.options import SourceOptions

__all__ = ["SourceOptions", "open_source"]
