"""Files that hold a part of a model: the pieces of one matrix must never be audited as matrices.

Tensor parallelism writes one file a process, with the same tensor names in each and a part of each matrix.
Such numbered files are recognised by their names (``consolidated.00.pth``, ``mp_rank_00``), or by what
they hold: vectors that are equal in all of them beside matrices that are not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.conversions import MEGATRON_HINT, ZERO_HINT
from rmtaudit.checkpoints.files import read_small
from rmtaudit.checkpoints.registry import open_file
from rmtaudit.checkpoints.safetensors import SafetensorsCheckpoint
from rmtaudit.errors import InputError, NotACheckpointError, RmtauditError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from rmtaudit.matrices.tensors import TensorSpec

_LLAMA = re.compile(r"(consolidated\.)(\d{2,3})(\.\w+)")
_WORDS = re.compile(
    r"(.*?(?:^|[^a-z])(?:mp|tp|pp|model|tensor|pipeline|zero_pp)?[-_.]?(?:rank|parts?|shards?|slices?|"
    r"tp|mp|pp|model_parallel|tensor_parallel)[-_.]?)(\d{1,5})(\D.*|)",
    re.IGNORECASE,
)
_OF = re.compile(r"(.*?)(\d{1,5})([-_]?of[-_]?\d{1,5}.*)", re.IGNORECASE)
_ANY = re.compile(r"(.*?)(\d{1,3})(\.[a-z]+)", re.IGNORECASE)
_SERIES = re.compile(
    r"epoch|step|iter|checkpoint|ckpt|fold|split|seed|version|run|snapshot|best|swa|ensemble|member|trial"
    r"|generation|copy|backup",
    re.IGNORECASE,
)
_FOLDER = re.compile(r"((?:mp|tp)_rank_)(\d{2})((?:_\w+)?)", re.IGNORECASE)
_PARAMS_CAP = 1_000_000  # bytes of a params.json
_MOST = 8  # tensors of a kind that are compared, the smallest ones
INFO = "DCP_SHARDING_INFO"
"""Key of the header of a safetensors file of shards (``torch/distributed/checkpoint/_hf_utils.py``)."""

_EQUAL_SHARE = 0.25
"""Largest share of equal matrices between two parts: position tables and routers are kept in every part."""


_NEAR = 0.5
"""Cosine of two matrices, their means taken off, from which they are versions of one matrix, as fine-tunes
with frozen norms are. Two slices of a matrix are other rows or columns of it, and agree by chance only."""


def check_parts(path: Path, checkpoint: Checkpoint | None = None) -> list[str]:
    """Refuse a file that holds a part of every matrix, its siblings beside it.

    Parameters
    ----------
    path
        The file.
    checkpoint
        It, opened; it is opened here where ``None``.

    Returns
    -------
    list[str]
        Warnings: numbered files of equal tensors beside it, of which nothing says that they are parts.

    Raises
    ------
    NotACheckpointError
        It is a part.
    InputError
        It cannot be opened.
    """
    if isinstance(checkpoint, SafetensorsCheckpoint) and INFO in checkpoint.metadata:
        raise NotACheckpointError(
            "RA-IN-194",
            "The file is a shard of a distributed checkpoint: its matrices may be parts of the "
            "model's matrices.",
            hint="Give the folder, whose shards are read together.",
            where=display_name(path.name),
        )
    path = path.absolute()
    folder = _FOLDER.fullmatch(path.parent.name)
    if folder is not None:
        others = [
            each / path.name for each in _siblings(folder, path.parent.parent) if (each / path.name).is_file()
        ]
        if others:
            raise _part(path, others, MEGATRON_HINT)
    for pattern in (_LLAMA, _WORDS, _OF, _ANY):
        match = pattern.fullmatch(path.name)
        if match is None or (pattern in (_OF, _ANY) and _SERIES.search(match[1])):
            continue
        others = list(_siblings(match, path.parent))
        if pattern is _LLAMA and not others and checkpoint is not None:
            _check_heads(path, checkpoint)
        certain = pattern in (_LLAMA, _OF) or (pattern is _WORDS and not _rank(path.name))
        if others and (certain or _is_row(match, others, first=0 if pattern is _WORDS else 1)):
            return _compare(path, others, checkpoint, pattern, certain=certain)
    return []


def _check_heads(path: Path, checkpoint: Checkpoint) -> None:
    """Refuse a part of Llama that lies alone: ``params.json`` beside it says how many heads there are."""
    params = _params(path.with_name("params.json"))
    dim, heads = params.get("dim"), params.get("n_heads")
    spec = next((spec for spec in checkpoint.tensors if spec.name.endswith(".attention.wq.weight")), None)
    if type(dim) is not int or type(heads) is not int or heads < 1 or spec is None or not spec.shape:
        return
    size = params.get("head_dim")
    rows = heads * (size if type(size) is int else dim // heads)
    if 0 < spec.shape[0] < rows and rows % spec.shape[0] == 0:
        raise NotACheckpointError(
            "RA-IN-194",
            f"The file is one of {rows // spec.shape[0]} parts of a model, and the others are "
            f"missing: '{display_name(spec.name)}' has {spec.shape[0]} rows, but params.json "
            f"states {rows}.",
            hint="Complete the download, then merge the parts.",
            where=display_name(path.name),
        )


def _params(path: Path) -> dict[str, object]:
    try:
        table = json.loads(read_small(path, _PARAMS_CAP))
    except (InputError, ValueError, RecursionError):
        return {}  # without it nothing is known
    return table if type(table) is dict else {}


def _compare(
    path: Path,
    others: list[Path],
    checkpoint: Checkpoint | None,
    pattern: re.Pattern[str],
    *,
    certain: bool,
) -> list[str]:
    """Compare a file with the first of its siblings; ``certain``: equal names are enough."""
    opened = checkpoint or open_file(path)
    try:
        try:
            other = open_file(others[0])
        except RmtauditError:
            return []  # no checkpoint, or a broken one: nothing is known of it
        with other:
            pairs = _pairs(opened, other, all_of_them=pattern is _ANY)
            if not pairs:
                return []
            if certain or _are_parts(opened, other, pairs, trusted=pattern is _WORDS):
                raise _part(path, others, _hint(path, pattern))
            return [_note(others)] if pattern is _ANY and _same_shapes(pairs) else []
    finally:
        if checkpoint is None:
            opened.close()


def _pairs(a: Checkpoint, b: Checkpoint, *, all_of_them: bool) -> list[tuple[TensorSpec, TensorSpec]]:
    """Return the matrices and vectors that both have, by name.

    None where they share no matrix (the numbered files of an index), or where ``all_of_them`` are asked for
    and their names differ.
    """
    first, second = ({spec.name: spec for spec in each.tensors if spec.shape} for each in (a, b))
    shared = [(spec, second[name]) for name, spec in first.items() if name in second]
    if all_of_them and not len(shared) == len(first) == len(second):
        return []
    return shared if any(len(spec.shape) > 1 for spec, _ in shared) else []


def _are_parts(
    a: Checkpoint, b: Checkpoint, pairs: list[tuple[TensorSpec, TensorSpec]], *, trusted: bool
) -> bool:
    """Whether what two files hold says that they are parts of one model.

    Copies of one model agree in everything, models of one kind in nothing; parts agree in the vectors that
    are not split and differ in the matrices. Fine-tunes of one model do so too if they share frozen vectors,
    but their matrices are near each other. ``trusted``: the name says so too, and neither is asked.
    """
    readable = [pair for pair in pairs if pair[0].unreadable is None and pair[1].unreadable is None]
    matrices = [pair for pair in readable if len(pair[0].shape) > 1]
    vectors = [pair for pair in readable if len(pair[0].shape) == 1 and pair[0].shape == pair[1].shape]
    if not matrices:
        return False
    compared = sorted(matrices, key=lambda pair: pair[0].parameters)[:_MOST]
    if sum(_equal(a, b, pair) for pair in compared) > _EQUAL_SHARE * len(compared):
        return False
    if trusted:
        return True
    if all(_equal(a, b, pair) or _near(a, b, pair) for pair in compared):
        return False
    return any(_equal(a, b, pair) and not _is_constant(a, pair[0]) for pair in vectors[: 2 * _MOST])


def _equal(a: Checkpoint, b: Checkpoint, pair: tuple[TensorSpec, TensorSpec]) -> bool:
    import torch

    first, second = pair
    if (first.shape, first.dtype) != (second.shape, second.dtype):
        return False
    return torch.equal(a.read(first.name), b.read(second.name))


def _near(a: Checkpoint, b: Checkpoint, pair: tuple[TensorSpec, TensorSpec]) -> bool:
    """Whether two matrices are so close to each other that they are versions of one matrix."""
    if pair[0].shape != pair[1].shape:
        return False
    first, second = (each.read(spec.name).flatten().double() for each, spec in zip((a, b), pair, strict=True))
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second) >= _NEAR * float(first.norm() * second.norm())


def _is_constant(checkpoint: Checkpoint, spec: TensorSpec) -> bool:
    values = checkpoint.read(spec.name).flatten()
    return bool((values == values[:1]).all())


def _same_shapes(pairs: list[tuple[TensorSpec, TensorSpec]]) -> bool:
    return any(len(a.shape) > 1 for a, _ in pairs) and all(a.shape == b.shape for a, b in pairs)


def _siblings(match: re.Match[str], folder: Path) -> Iterator[Path]:
    """Yield what differs from a name in its number alone."""
    wanted = re.compile(f"{re.escape(match[1])}(\\d{{1,5}}){re.escape(match[3])}")
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return
    for name in names:
        other = wanted.fullmatch(name)
        if other is not None and other[1] != match[2]:
            yield folder / name


def _is_row(match: re.Match[str], others: list[Path], *, first: int) -> bool:
    """Whether files are numbered from 0, or ``first``, without a gap: sizes and dates are not."""
    pattern = re.compile(f"{re.escape(match[1])}(\\d{{1,5}}){re.escape(match[3])}")
    numbers = {int(match[2])}
    numbers.update(int(other[1]) for each in others if (other := pattern.fullmatch(each.name)))
    return min(numbers) in {0, first} and max(numbers) - min(numbers) + 1 == len(numbers)


def _rank(name: str) -> bool:
    """Whether the number is that of a process: data parallelism saves the whole model in each."""
    return "rank" in name.lower() and re.search(r"[mtp]p_rank", name, re.IGNORECASE) is None


def _hint(path: Path, pattern: re.Pattern[str]) -> str:
    if pattern is _LLAMA:
        return (
            "Merge them: python -m transformers.models.llama.convert_llama_weights_to_hf --input_dir "
            "FOLDER --model_size SIZE --output_dir OUTPUT"
        )
    if "mp_rank" in path.name:
        return f"{ZERO_HINT}; parts of tensor parallelism are merged by the program that wrote them."
    return "Merge them with the program that split the model."


def _part(path: Path, others: list[Path], hint: str) -> NotACheckpointError:
    shown = display_name(str(others[0].relative_to(path.parent.parent)), longest=80)
    if others[0].parent == path.parent:
        shown = display_name(others[0].name, longest=80)
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return NotACheckpointError(
        "RA-IN-194",
        f"The file is one of {len(others) + 1} parts of a model: the other parts of the same tensors are in "
        f"{shown}{more}.",
        hint=hint,
        where=display_name(path.name),
    )


def _note(others: list[Path]) -> str:
    return (
        f"{len(others)} numbered files in the same folder hold the same tensors "
        f"({display_name(others[0].name)}, …): if they are parts of one model, so are the "
        "matrices of this file"
    )
