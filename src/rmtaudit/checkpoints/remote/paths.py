"""Paths within a remote tree, which readers take as they take paths of the file system."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Generator, Iterator
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from rmtaudit.checkpoints.base import StatedFile
    from rmtaudit.checkpoints.local_bytes import FileBytes

_SCHEME = re.compile(r"(hf|https?):/+")


class RemoteTree(Protocol):
    """Files below one address. Names are relative to it, with ``/``; ``""`` is the address itself.

    Attributes
    ----------
    streamed
        The files that were opened and are read over the network.
    """

    @property
    def streamed(self) -> tuple[StatedFile, ...]:
        """The files that were opened and are read over the network."""

    def listed(self, folder: str) -> tuple[list[str], list[str]]:
        """Return the names of the files and of the folders in a folder. Raises ``OSError``."""

    def is_file(self, name: str) -> bool:
        """Whether there is a file of that name."""

    def is_folder(self, name: str) -> bool:
        """Whether there is a folder of that name."""

    def open_bytes(self, name: str, where: str) -> FileBytes:
        """Open a file. Raises ``InputError``."""


_TREES: dict[str, RemoteTree] = {}
"""The trees of this process by the text of their root: a path is a name, and finds its tree here."""

_FILES: dict[str, tuple[RemoteTree, str]] = {}
"""Files whose tree shares its root with others, and their names in it."""


if sys.platform == "win32":
    from pathlib import WindowsPath as _NativePath
else:
    from pathlib import PosixPath as _NativePath


class RemotePath(_NativePath):
    """A path within a remote tree: ``hf://org/name@commit/model.safetensors``.

    It answers what readers ask of a path. What reads it as a file of this machine finds nothing there.
    """

    __slots__ = ()

    def __str__(self) -> str:
        text = _SCHEME.sub(r"\1://", super().__str__().replace("\\", "/"), count=1)
        return str(text)

    def __fspath__(self) -> str:
        return str(self)

    @property
    def streamed(self) -> tuple[StatedFile, ...]:
        """The files of its tree that were opened and are read over the network."""
        return self._placed()[0].streamed

    def open_bytes(self, where: str) -> FileBytes:
        """Open the file for positional reads. Raises ``InputError``."""
        tree, name = self._placed()
        return tree.open_bytes(name, where)

    def listed(self) -> tuple[list[str], list[str]]:
        """Return the names of the files and of the folders in this folder. Raises ``OSError``."""
        tree, name = self._placed()
        return tree.listed(name)

    def iterdir(self) -> Generator[Self, None, None]:
        """Yield what the folder holds. Raises ``OSError`` where it cannot be listed."""
        files, folders = self.listed()
        return (self / name for name in sorted((*files, *folders)))

    def glob(self, pattern: str, **_: Any) -> Iterator[Self]:  # type: ignore[override]
        """Yield what the folder itself holds and a pattern without slashes matches."""
        files, folders = self.listed()
        return (self / name for name in sorted((*files, *folders)) if fnmatchcase(name, pattern))

    def is_file(self, **_: Any) -> bool:
        """Whether there is a file of that name."""
        found = self._found()
        return found is not None and found[0].is_file(found[1])

    def is_dir(self, **_: Any) -> bool:
        """Whether there is a folder of that name."""
        found = self._found()
        return found is not None and found[0].is_folder(found[1])

    def exists(self, **_: Any) -> bool:
        """Whether there is a file or a folder of that name."""
        return self.is_file() or self.is_dir()

    def is_symlink(self) -> bool:
        """Answer ``False``: a remote tree has no links."""
        return False

    def resolve(self, strict: bool = False) -> Self:
        """Return the path itself, without the steps that lead back."""
        plain = type(self)(os.path.normpath(super().__str__()))
        if strict and not plain.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return plain

    def absolute(self) -> Self:
        """Return the path itself."""
        return self

    def samefile(self, other_path: Any) -> bool:
        """Whether another path is this one: no path of this machine is."""
        return isinstance(other_path, RemotePath) and other_path.resolve() == self.resolve()

    def stat(self, **_: Any) -> os.stat_result:
        """Raise ``FileNotFoundError``: nothing of it is on this machine."""
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))

    def open(self, mode: str = "r", *_: Any, **__: Any) -> IO[Any]:  # type: ignore[override]
        """Return the first 4096 bytes of a file, for whoever looks how it begins."""
        if mode != "rb":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        file = self.open_bytes(self.name)
        data = bytearray(min(4096, file.snapshot.size))
        file.read([(0, memoryview(data))], 0)
        file.close()
        return io.BytesIO(bytes(data))

    def _found(self) -> tuple[RemoteTree, str] | None:
        file = _FILES.get(str(self))
        if file is not None:
            return file
        for parent in (self, *self.parents):
            tree = _TREES.get(str(parent))
            if tree is not None:
                inside = PurePosixPath(*self.parts[len(parent.parts) :])
                return tree, "" if inside == PurePosixPath() else str(inside)
        return None

    def _placed(self) -> tuple[RemoteTree, str]:
        found = self._found()
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return found


def rooted(root: str, tree: RemoteTree) -> RemotePath:
    """Return the path of the root of a tree, whose files are found under it from now on."""
    path = RemotePath(root)
    _TREES[str(path)] = tree
    return path


def rooted_file(root: str, name: str, tree: RemoteTree, *, alone: bool) -> RemotePath:
    """Return the path of a file below a root that the trees of several files share.

    What lies beside the file is looked for in its tree, unless it is ``alone`` and another tree is there.
    """
    path = RemotePath(root)
    if not alone or str(path) not in _TREES:
        _TREES[str(path)] = tree
    _FILES[str(path / name)] = (tree, name)
    return path / name
