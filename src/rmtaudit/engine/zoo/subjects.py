"""Which models a zoo has: those of folders, of patterns, of the cache of the Hub, and of manifests.

No file is opened but zip archives, which may hold several models. That a file is no checkpoint after all is
found out when it is audited, and reported there.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rmtaudit.checkpoints.bundle import subjects_of
from rmtaudit.checkpoints.listing import listed
from rmtaudit.checkpoints.weight_files import weights_among
from rmtaudit.engine.settings.manifest import read_manifest
from rmtaudit.errors import UsageError
from rmtaudit.names import display_name
from rmtaudit.report.zoo import Quality

_WHOLE = frozenset({
    "config.json", "adapter_config.json", "model_index.json", "modules.json", ".metadata", "params.json",
})  # fmt: skip
"""Files beside which all weights of a folder are one model: those of transformers, peft, diffusers,
sentence-transformers, distributed checkpoints of torch, and consolidated shards."""

_SHARD = re.compile(r".*-\d{5}-of-\d{5}\.[a-z]+|.*\.index\.json", re.IGNORECASE)
_CACHED = "models--"
_MANIFESTS = (".yaml", ".yml")
_ARCHIVE = ".zip"
_DEEPEST = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooSubject:
    """A model of the zoo before it is audited: see :class:`rmtaudit.report.zoo.ZooModel`."""

    name: str
    path: str
    family: str = ""
    quality: Mapping[str, Quality] = field(default_factory=dict)


def subjects_among(
    paths: Iterable[str], members: Mapping[str, list[str]] | None = None
) -> tuple[ZooSubject, ...]:
    """Return the models of paths, patterns and manifests, each path once, with unique names.

    Parameters
    ----------
    paths
        Files, folders, patterns of a shell (``**`` for any folders), manifests (``.yaml``), ``hf://…``.
    members
        The models in zip archives that are known already, by the path of the archive.

    Raises
    ------
    UsageError
        RA-ZO-006: a pattern matches nothing, or there is no model at all; and as :func:`read_manifest`.
    """
    seen: dict[str, ZooSubject] = {}
    several = len(list(paths := list(paths))) > 1
    for text in paths:
        for subject in _subjects(text, members or {}, prefixed=several):
            seen.setdefault(subject.path, subject)
    if not seen:
        raise UsageError(
            "RA-ZO-006",
            "There is no model at these paths.",
            hint="Give folders with checkpoints, or a manifest.",
            where=", ".join(display_name(text) for text in paths[:3]),
        )
    return tuple(_unique(seen.values()))


def _subjects(text: str, members: Mapping[str, list[str]], *, prefixed: bool) -> Iterator[ZooSubject]:
    path = Path(text)
    if path.is_dir():
        root = path.name if prefixed else ""
        for each in _in_folder(path, members, top=True):
            name = each.name if each.name and not root else f"{root}/{each.name}".rstrip("/")
            yield replace(each, name=name or path.resolve().name)
    elif path.suffix.lower() in _MANIFESTS and path.is_file():
        yield from _of_manifest(path)
    elif not path.exists() and glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207  # the pattern may be absolute
        if not matches:
            raise UsageError("RA-ZO-006", "The pattern matches nothing.", where=display_name(text))
        for match in matches:
            if Path(match).is_dir():
                for each in _in_folder(Path(match), members, top=True):
                    yield replace(each, name=f"{match}/{each.name}".rstrip("/"))
            elif weights_among([Path(match).name]):
                yield from _of_file(Path(match), match, members)
    else:
        yield from _of_file(path, text, members)


def _of_manifest(path: Path) -> Iterator[ZooSubject]:
    for model in read_manifest(path):
        if not model.path:
            continue
        local = path.parent / model.path
        address = "://" in model.path or (not local.exists() and "/" in model.path)
        yield ZooSubject(
            name=model.name,
            path=model.path if address else str(local),
            family=model.family,
            quality=model.quality,
        )


def _in_folder(
    folder: Path, members: Mapping[str, list[str]], *, name: str = "", top: bool = False, depth: int = 0
) -> Iterator[ZooSubject]:
    """Yield the models of a folder, named relative to it; ``top``: a single file in it is not all of it."""
    try:
        files, folders = listed(folder)
    except OSError:
        return
    if folder.name.startswith(_CACHED):
        yield ZooSubject(name=_join(name, ""), path=str(folder))
        return
    weights = sorted({*weights_among(files), *(file for file in files if file.lower().endswith(_ARCHIVE))})
    marked = any(file in _WHOLE or _SHARD.fullmatch(file) for file in files)
    if (weights and (marked or (len(weights) == 1 and not top))) or "model_index.json" in files:
        if len(weights) == 1 and weights[0].lower().endswith(_ARCHIVE):
            yield from _of_file(folder / weights[0], _join(name, weights[0]), members)
        else:
            yield ZooSubject(name=name, path=str(folder))
        return
    for file in weights:
        yield from _of_file(folder / file, _join(name, file), members)
    for inner in folders:
        if inner.startswith(".") or depth >= _DEEPEST:
            continue
        label = inner.removeprefix(_CACHED).replace("--", "/", 1) if inner.startswith(_CACHED) else inner
        yield from _in_folder(folder / inner, members, name=_join(name, label), depth=depth + 1)


def _of_file(path: Path, name: str, members: Mapping[str, list[str]]) -> Iterator[ZooSubject]:
    if path.suffix.lower() != _ARCHIVE:
        yield ZooSubject(name=name, path=str(path))
        return
    inside = members.get(str(path)) or [str(each) for each in subjects_of(path).paths]
    for each in inside:
        yield ZooSubject(name=f"{name}{each.removeprefix(str(path))}", path=each)


def _join(parent: str, name: str) -> str:
    return f"{parent}/{name}".strip("/")


def _unique(subjects: Iterable[ZooSubject]) -> Iterator[ZooSubject]:
    """Yield the subjects, a number after names that occurred before."""
    taken: set[str] = set()
    for subject in subjects:
        name, number = subject.name, 1
        while name in taken:
            number += 1
            name = f"{subject.name} ({number})"
        taken.add(name)
        yield subject if name == subject.name else replace(subject, name=name)
