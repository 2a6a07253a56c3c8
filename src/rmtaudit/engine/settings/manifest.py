"""The manifest of a model zoo: which models there are, of which family, and how good each is known to be.

::

    models:
      - path: resnet20.th            # a file, a folder, or an address; relative to the manifest
        name: ResNet-20
        family: resnet
        quality:
          accuracy: {value: 91.7, higher_is_better: true}
      - path: resnet32.th

``path`` alone is required of a model. ``report`` names a saved report of it for ``rmtaudit rank``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rmtaudit.engine.settings.strict_yaml import Node, parse_tree
from rmtaudit.errors import UsageError
from rmtaudit.names import display_name, suggestion
from rmtaudit.report.zoo import Quality

_LARGEST = 64 << 20
_MODEL_KEYS = ("path", "report", "name", "family", "quality")
_QUALITY_KEYS = ("value", "higher_is_better")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestModel:
    """One model of a manifest.

    Attributes
    ----------
    path
        What is audited, as written; local paths are relative to the folder of the manifest. Empty where the
        manifest has a report alone.
    report
        The saved report of the model, as written; ``""`` where there is none.
    name
        Unique in the manifest; the path or the report where none is given.
    family
        Models of one family are compared with each other; ``""`` where none is given.
    quality
        Measured quality, by the name of the measure.
    """

    path: str
    report: str
    name: str
    family: str = ""
    quality: Mapping[str, Quality] = field(default_factory=dict)


def read_manifest(file: Path) -> tuple[ManifestModel, ...]:
    """Return the models of a manifest, in its order.

    Raises
    ------
    UsageError
        RA-ZO-001: it cannot be read; RA-ZO-002: it has no list of models; RA-ZO-003: an entry is wrong;
        RA-ZO-004: two models have one name; and RA-CF-002 to RA-CF-007 where it is no YAML that is read.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
        text = data.decode()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError("RA-ZO-001", f"The file cannot be read: {reason}.", where=str(file)) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            "RA-ZO-001", f"The file is not UTF-8 at byte {error.start}.", where=str(file)
        ) from None
    if len(data) > _LARGEST:
        raise UsageError("RA-ZO-001", "A manifest above 64 MiB is not read.", where=str(file))
    tree = parse_tree(text, str(file))
    listed = tree.value.get("models") if tree is not None and isinstance(tree.value, dict) else None
    if listed is None or not isinstance(listed.value, list):
        raise UsageError(
            "RA-ZO-002",
            "The manifest has no list of models.",
            hint=("Write models: and below it one entry for each model, such as - path: model.safetensors"),
            where=str(file),
        )
    models = tuple(_models(listed.value, listed.where))
    seen: set[str] = set()
    for model in models:
        if model.name in seen:
            raise UsageError(
                "RA-ZO-004",
                f"Two models are named {display_name(model.name)!r}.",
                hint="Give each a different name.",
                where=str(file),
            )
        seen.add(model.name)
    return models


def _models(entries: list[Any], where: str) -> Iterator[ManifestModel]:
    for each in entries:
        if isinstance(each, dict) and each:
            where = next(iter(each.values())).where
        entry = _checked(each, "A model", where, _MODEL_KEYS)
        texts = {key: _text(entry[key], key) for key in ("path", "report", "name", "family") if key in entry}
        path, report = texts.get("path", ""), texts.get("report", "")
        if not (path or report):
            raise _refusal("A model needs a path.", where)
        yield ManifestModel(
            path=path,
            report=report,
            name=texts.get("name") or path or report,
            family=texts.get("family", ""),
            quality=dict(_qualities(entry["quality"])) if "quality" in entry else {},
        )


def _qualities(node: Node) -> Iterator[tuple[str, Quality]]:
    if not isinstance(node.value, dict):
        raise _refusal("The key quality must be a mapping of measures.", node.where)
    for name, measure in node.value.items():
        entry = _checked(measure.value, f"quality.{name}", measure.where, _QUALITY_KEYS)
        missing = [key for key in _QUALITY_KEYS if key not in entry]
        if missing:
            raise _refusal(f"quality.{name} lacks {' and '.join(missing)}.", measure.where)
        value, higher = entry["value"].value, entry["higher_is_better"].value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _refusal(f"quality.{name}.value must be a number.", entry["value"].where)
        if not isinstance(higher, bool):
            raise _refusal(
                f"quality.{name}.higher_is_better must be true or false.", entry["higher_is_better"].where
            )
        yield name, Quality(value=value, higher_is_better=higher)


def _checked(entry: Any, what: str, where: str, known: tuple[str, ...]) -> dict[str, Node]:
    """Return a mapping whose keys are all known."""
    if not isinstance(entry, dict):
        raise _refusal(f"{what} must be a mapping with the keys {', '.join(known)}.", where)
    for key, node in entry.items():
        if key not in known:
            raise _refusal(f"{what} has no key {key!r}.{suggestion(key, known)}", node.where)
    return entry


def _text(node: Node, key: str) -> str:
    if not isinstance(node.value, str) or not node.value:
        raise _refusal(f"{key} must be text; quote it if it looks like a number.", node.where)
    return node.value


def _refusal(message: str, where: str) -> UsageError:
    return UsageError("RA-ZO-003", display_name(message, longest=400), where=where)
