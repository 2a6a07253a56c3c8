"""A fine-tune as a low-rank adapter of its base."""

from rmtaudit.engine.extraction.extract import ExtractedUpdate, Extraction, extract_adapter
from rmtaudit.engine.extraction.folder import write_adapter

__all__ = ["ExtractedUpdate", "Extraction", "extract_adapter", "write_adapter"]
