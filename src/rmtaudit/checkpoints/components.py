"""Pipelines of several components in one folder: those of diffusers and of sentence-transformers.

``model_index.json`` (diffusers) maps the name of a component, which is also its folder, to the library and
the class that load it; ``modules.json`` (sentence-transformers) lists the folders, the first often the
pipeline's own. Both are read as facts; no class is imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rmtaudit.checkpoints.base import Checkpoint, UnreadFile
from rmtaudit.checkpoints.files import read_small
from rmtaudit.checkpoints.sharded import check_shard_name
from rmtaudit.checkpoints.weight_files import weight_files
from rmtaudit.errors import CorruptError, InputError, RmtauditError, UnsafeError
from rmtaudit.matrices.sharing import alias_within
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.levels import Levels
    from rmtaudit.matrices.tensors import TensorSpec

Error = TypeVar("Error", bound=RmtauditError)

DIFFUSERS, SENTENCE_TRANSFORMERS = "model_index.json", "modules.json"
DESCRIPTION_CAP = 1_000_000
"""Largest description of a pipeline in bytes."""

COMPONENTS_CAP = 1000
"""Most components of a pipeline."""

_WITHOUT_WEIGHTS = re.compile(
    r".*(?:Scheduler|Tokenizer\w*|FeatureExtractor|Processor|Pooling|Normalize|Dropout|Router|BoW)"
)
"""Classes that have no weights, or none that lie in their folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A component of a pipeline.

    Attributes
    ----------
    path
        Its folder within that of the pipeline, as the description has it; ``""`` for the pipeline's own.
    kind
        The class that loads it; ``""`` where the description does not say.
    has_weights
        Whether a file with the name of weights lies in its folder.
    """

    path: str
    kind: str
    has_weights: bool

    @property
    def prefix(self) -> str:
        """What the names of its tensors begin with."""
        return f"{self.path.strip('/')}." if self.path else ""

    @property
    def title(self) -> str:
        """Its name in a sentence, printable."""
        return f"component '{display_name(self.path, longest=80)}'"

    def levels(self, folder: Path) -> Iterator[Path]:
        """Yield its folder and those between it and the folder of the pipeline, outermost first."""
        for part in Path(self.path).parts:
            folder = folder / part
            yield folder

    def placed(self, error: Error) -> Error:
        """Return an error of the component, with its folder before the place."""
        path = display_name(self.path, longest=80)
        if path and error.where != path:
            error.where = f"{path}/{error.where}"
        return error


def components_of(folder: Path) -> tuple[Component, ...] | None:
    """Return the components of a pipeline; ``None`` for a folder of one model.

    A pipeline of diffusers whose description lists none has a component in every subfolder with weights.

    Raises
    ------
    InputError
        The description is damaged, or names a folder outside its own.
    """
    if (folder / DIFFUSERS).is_file():
        table = _description(folder / DIFFUSERS)
        if type(table) is not dict:
            raise _damaged(DIFFUSERS, "not a JSON object")
        listed = [
            (name, entry[1])
            for name, entry in table.items()
            if not name.startswith("_") and _is_pair_of_texts(entry)
        ]
        inside = (name.partition("/")[0] for name in weight_files(folder) if "/" in name)
        components = _components(folder, listed or [(name, "") for name in dict.fromkeys(inside)], DIFFUSERS)
        return components if any(each.has_weights for each in components) else None
    if (folder / SENTENCE_TRANSFORMERS).is_file():
        modules = _description(folder / SENTENCE_TRANSFORMERS)
        if type(modules) is not list:
            raise _damaged(SENTENCE_TRANSFORMERS, "not a JSON list")
        listed = [
            (module["path"], str(module.get("type", "")).rpartition(".")[2])
            for module in modules
            if type(module) is dict and type(module.get("path")) is str
        ]
        components = _components(folder, listed, SENTENCE_TRANSFORMERS)
        return components if any(each.path and each.has_weights for each in components) else None
    return None


def without_weights(components: Iterable[Component]) -> list[UnreadFile]:
    """Return every component that should have weights, and has none in its folder."""
    return [
        UnreadFile(
            display_name(each.path, longest=80),
            0,
            f"{each.title} ({display_name(each.kind, longest=80)}) has no weights in its folder",
        )
        for each in components
        if not each.has_weights and each.kind and not _WITHOUT_WEIGHTS.fullmatch(each.kind)
    ]


def unread_files(folder: Path, component: Component, problem: str) -> list[UnreadFile]:
    """Return the files with weights of a component that could not be read."""
    inside = folder / component.path
    names = [name for name in weight_files(inside) if "/" not in name or component.path]
    return [
        UnreadFile(
            display_name(f"{component.prefix.removesuffix('.')}/{name}".lstrip("/"), longest=200),
            _size(inside / name),
            problem,
        )
        for name in names
    ]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _components(folder: Path, listed: list[tuple[str, str]], where: str) -> tuple[Component, ...]:
    if len(listed) > COMPONENTS_CAP:
        raise UnsafeError(
            "RA-IN-095",
            f"The list names {len(listed)} components; at most {COMPONENTS_CAP} are read.",
            where=where,
        )
    components = {}
    for path, kind in listed:
        if path:
            check_shard_name(path, None, where)
        inside = weight_files(folder / path)
        components[path] = Component(
            path=path, kind=kind, has_weights=any("/" not in name for name in inside)
        )
    return tuple(components.values())


def _is_pair_of_texts(entry: object) -> bool:
    return type(entry) is list and len(entry) == 2 and all(type(each) is str for each in entry)


def _description(path: Path) -> Any:
    try:
        return json.loads(read_small(path, DESCRIPTION_CAP))
    except RecursionError as error:
        raise _damaged(path.name, "nested too deeply") from error
    except ValueError as error:
        raise _damaged(path.name, display_name(str(error))) from error


def _damaged(name: str, fault: str) -> CorruptError:
    return CorruptError(
        "RA-IN-095",
        f"The list of the components is damaged: {fault}.",
        hint="Download it again, or give the folder of one component.",
        where=name,
    )


class ComponentsCheckpoint(Checkpoint):
    """The components of a pipeline read as one checkpoint.

    Parameters
    ----------
    path
        The folder of the pipeline.
    parts
        The opened components, by what the names of their tensors begin with; this object closes them.
    warnings
        What is odd but not fatal.
    unread
        The files of the components that were not read.

    Raises
    ------
    CorruptError
        Two components hold a tensor of the same name.
    """

    def __init__(
        self,
        path: Path,
        parts: Mapping[str, Checkpoint],
        warnings: Iterable[str],
        unread: Iterable[UnreadFile] = (),
    ) -> None:
        self.path = path
        self.unread = tuple(unread)
        self._parts = dict(parts)
        self.format = "+".join(sorted({part.format for part in parts.values()}))
        self.config = parts[""].config if "" in parts else {}
        self._homes: dict[str, tuple[Checkpoint, str]] = {}
        tensors = []
        for prefix, part in parts.items():
            for spec in part.tensors:
                name = f"{prefix}{spec.name}"
                if name in self._homes:
                    raise CorruptError(
                        "RA-IN-082",
                        f"Tensor '{display_name(name)}' is in two components.",
                        where=display_name(path.name),
                    )
                self._homes[name] = (part, spec.name)
                tensors.append(_renamed(spec, name, prefix))
        self.tensors = tuple(tensors)
        self.warnings = (
            *warnings,
            *(
                f"{prefix.removesuffix('.')}: {warning}" if prefix else warning
                for prefix, part in parts.items()
                for warning in part.warnings
            ),
        )

    def read(self, name: str) -> torch.Tensor:
        """Return the values of one tensor (see :meth:`Checkpoint.read`)."""
        part, inner = self._homes[name]
        return part.read(inner)

    def read_band(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return a range of the first side of one tensor."""
        part, inner = self._homes[name]
        return part.read_band(inner, start, stop)

    def levels(self, name: str) -> Levels | None:
        """Return the levels of a quantised tensor."""
        part, inner = self._homes[name]
        return part.levels(inner)

    def position(self, name: str) -> tuple[str, int] | None:
        """Return the file within the folder and the position of the first byte of a tensor in it."""
        part, inner = self._homes[name]
        position = part.position(inner)
        folder = name.removesuffix(inner).removesuffix(".")
        if position is None or not folder:
            return position
        return f"{display_name(folder, longest=80)}/{position[0]}", position[1]

    def check_unchanged(self) -> None:
        """Raise ``ChangedError`` if a file of a component changed since it was opened."""
        for part in self._parts.values():
            part.check_unchanged()

    def close(self) -> None:
        """Close every component; raises the first ``ChangedError`` when all are closed."""
        first: InputError | None = None
        for prefix, part in self._parts.items():
            before = len(part.warnings)
            try:
                part.close()
            except InputError as error:
                first = first or error
            title = f"{display_name(prefix.removesuffix('.'))}: " if prefix else ""
            self.warnings = (*self.warnings, *(f"{title}{late}" for late in part.warnings[before:]))
        if first is not None:
            raise first


def _renamed(spec: TensorSpec, name: str, prefix: str) -> TensorSpec:
    encoding = spec.encoding
    if encoding is not None:
        encoding = replace(encoding, parts=tuple(f"{prefix}{part}" for part in encoding.parts))
    return replace(spec, name=name, alias=alias_within(prefix, spec.alias), encoding=encoding)
