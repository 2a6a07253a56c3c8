"""Values in files beside the model: ``external_data``, resolved inside the model's folder alone.

Older versions of the ``onnx`` package read any file that a model named (CVE-2022-25882, CVE-2024-27318,
CVE-2026-27489, CVE-2026-34446, CVE-2026-34447); the rules here are those of ``onnx`` 1.21 and later.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.graphs.places import Raw
from rmtaudit.checkpoints.remote.paths import RemotePath
from rmtaudit.checkpoints.sharded import check_contained
from rmtaudit.errors import CorruptError, InputError, UnsafeError
from rmtaudit.names import display_name

_OPEN_CAP = 200  # files that keep their descriptor
_FILES_CAP = 100_000


@dataclass(frozen=True, slots=True)
class Location:
    """A range of a file; ``length`` is ``None`` where it goes to the end."""

    file: str
    offset: int
    length: int | None


def external_location(entries: dict[str, str], name: str, where: str) -> Location:
    """Return where the values of a tensor are said to be.

    Raises
    ------
    UnsafeError
        The file lies outside the folder.
    CorruptError
        There is no file name, or a number that is none.
    """
    file = entries.get("location", "")
    windows = PureWindowsPath(file)
    if not file or "\0" in file or windows.drive or windows.root or ".." in windows.parts or not windows.name:
        raise UnsafeError(
            "RA-IN-127",
            f"Tensor '{display_name(name)}': its values are in '{display_name(file)}', outside "
            "the model's folder.",
            hint="Do not trust the file.",
            where=where,
        )
    numbers: list[int | None] = []
    for key in ("offset", "length"):
        text = entries.get(key, "")
        if text and not (text.isascii() and text.isdigit() and len(text) < 20):
            raise CorruptError(
                "RA-IN-128",
                f"Tensor '{display_name(name)}': {key} '{display_name(text, longest=40)}' is not a number.",
                where=where,
            )
        numbers.append(int(text) if text else None)
    return Location(file, numbers[0] or 0, numbers[1])


class ExternalFiles:
    """The files that a model's tensors are in.

    Parameters
    ----------
    folder
        Of the model, as it was named: a link in it may lead to another file of the folder, or of the cache
        of the Hugging Face hub.
    where
        The model's printable name.
    """

    def __init__(self, folder: Path, where: str) -> None:
        self._folder = folder
        self._where = where
        self.sources: dict[str, FileSource] = {}

    def place(self, location: Location, needed: int, name: str) -> Raw:
        """Return where ``needed`` bytes of values are.

        Raises
        ------
        CorruptError
            The range leaves the file, or is not as long as the tensor needs.
        UnsafeError
            The file is outside the folder, or has a second name (a hard link).
        InputError
            The file is not there.
        """
        source = self.sources.get(location.file)
        if source is None:
            source = self._open(location.file, name)
        length = source.size - location.offset if location.length is None else location.length
        if length != needed:
            raise CorruptError(
                "RA-IN-128",
                f"Tensor '{display_name(name)}': {length} bytes in "
                f"'{display_name(location.file)}', but its shape needs {needed}.",
                hint="Download it again.",
                where=self._where,
            )
        if location.offset + length > source.size:
            raise CorruptError(
                "RA-IN-128",
                f"Tensor '{display_name(name)}': its values end at {location.offset + length}, "
                f"but '{display_name(location.file)}' has {source.size} bytes.",
                hint="Download it again.",
                where=self._where,
            )
        return Raw(source, location.offset, length)

    def abandon(self) -> None:
        """Close the files without looking back."""
        for source in self.sources.values():
            source.abandon()

    def _open(self, file: str, name: str) -> FileSource:
        if len(self.sources) >= _FILES_CAP:
            raise CorruptError(
                "RA-IN-128", f"The values are spread over more than {_FILES_CAP} files.", where=self._where
            )
        path = self._folder / file
        try:
            check_contained(path, self._folder)
            source = FileSource(path)
        except UnsafeError:
            raise
        except InputError as error:
            raise InputError(
                "RA-IN-129",
                f"Tensor '{display_name(name)}': its values are in '{display_name(file)}', which "
                f"cannot be read: {error.message}",
                hint="Put it into the folder of the model.",
                where=self._where,
            ) from error
        self.sources[file] = source
        linked = not isinstance(path, RemotePath) and os.stat(path).st_nlink > 1  # noqa: PTH116
        if linked:  # the file behind the symbolic links, as FileSource opens it
            raise UnsafeError(
                "RA-IN-130",
                f"'{display_name(file)}', which holds values, is a hard link: it may be any file of this "
                "system under another name.",
                hint=f"Copy it first: cp {display_name(file)} copy && mv copy {display_name(file)}",
                where=self._where,
            )
        if len(self.sources) > _OPEN_CAP:
            source.park()
        return source
