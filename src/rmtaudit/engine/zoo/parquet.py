"""Every metric of every layer of a zoo as one long table in Parquet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rmtaudit.engine.resources.store import Kind, RecordStore
from rmtaudit.errors import OutputError, UsageError
from rmtaudit.report.zoo import Zoo

_COLUMNS = (
    "model", "path", "family", "layer", "kind", "parameters", "metric", "value", "text", "se", "low", "high",
    "status", "reason",
)  # fmt: skip
_ROWS = 100_000
"""Rows of a group, which are in memory at once."""


def require_pyarrow() -> None:
    """Raise ``UsageError`` (RA-ZO-014) where pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        raise UsageError("RA-ZO-014", "Writing Parquet needs pyarrow.", hint="pip install 'rmtaudit[zoo]'")


def write_parquet(zoo: Zoo, out: Path, target: Path) -> None:
    """Write a row for each metric of each layer of the models that were audited.

    A number or a truth value is in ``value``, a word in ``text``. ``out`` is the folder of the zoo. Readers
    see the old file or the whole new one. Raises ``OutputError`` (RA-OU-003) where it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"parameters": pa.int64(), **dict.fromkeys(("value", "se", "low", "high"), pa.float64())}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in _COLUMNS])
    temporary = target.with_name(f".{target.name[:100]}.tmp")
    try:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for rows in _groups(_rows(zoo, RecordStore(out / "store"))):
                columns = [list(column) for column in zip(*rows, strict=True)]
                arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        temporary.replace(target)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError("RA-OU-003", f"The file cannot be written: {reason}.", where=str(target)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _groups(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    group: list[tuple[Any, ...]] = []
    for row in rows:
        group.append(row)
        if len(group) == _ROWS:
            yield group
            group = []
    if group:
        yield group


def _rows(zoo: Zoo, store: RecordStore) -> Iterator[tuple[Any, ...]]:
    for model in zoo.models:
        body = None if model.record is None else store.get(Kind.MODEL, Path(model.record).stem)
        for layer in () if body is None else body["report"]["layers"]:
            for name, metric in layer["metrics"].items():
                value, interval = metric["value"], metric["ci"] or (None, None)
                word = isinstance(value, str)
                yield (
                    _text(model.name),
                    _text(model.path),
                    model.family,
                    _text(layer["name"]),
                    layer["kind"],
                    layer["parameters"],
                    name,
                    None if word or value is None else float(value),
                    value if word else None,
                    metric["se"],
                    *interval,
                    metric["status"],
                    metric["reason"],
                )


def _text(name: str) -> str:
    """Return a name as Parquet takes it: lone surrogates, which are no UTF-8, as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()
