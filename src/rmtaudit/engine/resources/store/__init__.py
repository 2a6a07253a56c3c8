"""The store of a zoo: content-addressed records, and an index of them that can be made anew."""

from rmtaudit.engine.resources.store.index import Index
from rmtaudit.engine.resources.store.records import Kind, Record, RecordStore, canonical, key_digest

__all__ = ["Index", "Kind", "Record", "RecordStore", "canonical", "key_digest"]
