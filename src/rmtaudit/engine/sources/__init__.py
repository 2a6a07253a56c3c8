"""From the words of a command line to a matrix source."""

from rmtaudit.engine.sources.in_memory import in_memory
from rmtaudit.engine.sources.opening import open_source
from rmtaudit.engine.sources.options import SourceOptions

__all__ = ["SourceOptions", "in_memory", "open_source"]
