"""Which reader opens a file: the entry-point group ``rmtaudit.readers``, asked about its contents.

Readers of other distributions run code of theirs; they are imported only where none of ours is sure of the
file, and ``RMTAUDIT_PLUGINS=name,name`` lets in only those named (unset or empty: all).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint
from pathlib import Path

from rmtaudit.checkpoints.base import Checkpoint, Contents, Reader
from rmtaudit.checkpoints.collector import collector_paused
from rmtaudit.checkpoints.conversions import file_refusal, part_refusal
from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.members import open_source
from rmtaudit.checkpoints.remote.paths import RemotePath
from rmtaudit.checkpoints.sniff import broken_download, foreign_format
from rmtaudit.checkpoints.zips import list_entries
from rmtaudit.entry_points import is_allowed, is_own, registered
from rmtaudit.errors import (
    CorruptError,
    InputError,
    NotACheckpointError,
    RmtauditError,
    UnsafeError,
    UsageError,
)
from rmtaudit.names import display_name

GROUP = "rmtaudit.readers"
HEAD = 4096
"""Bytes of a file that a reader sees before it says whether it knows it."""


def open_file(path: Path) -> Checkpoint:
    """Open one file with the reader that knows it.

    Raises
    ------
    InputError
        No reader knows it, or its reader refuses it.
    UsageError
        A reader that could know it cannot be loaded.
    """
    reader, warnings = reader_for(path)
    return _opened(reader, path, warnings)


def open_in_archive(path: Path) -> Checkpoint | None:
    """Open a member of an archive; ``None`` where its reader takes none. Raises as :func:`open_file`."""
    reader, warnings = reader_for(path)
    return _opened(reader, path, warnings) if reader.in_archives else None


def open_own_folder(folder: Path, names: Sequence[str]) -> Checkpoint | None:
    """Open a folder as a whole, where a reader of ours knows it; ``None`` where none does."""
    contents = Contents(names=tuple(sorted(names)), folder=True)
    reader = next((each for each in own_readers() if each.recognises(contents)), None)
    return None if reader is None else _opened(reader, folder, [])


def open_folder(folder: Path, names: Sequence[str]) -> Checkpoint | None:
    """Open a folder as a whole, where the reader of a plugin knows it; ``None`` where none does."""
    problems: list[str] = []
    contents = Contents(names=tuple(sorted(names)), folder=True)
    reader = _first_plugin(contents, folder, problems)
    return None if reader is None else _opened(reader, folder, problems)


def _opened(reader: Reader, path: Path, warnings: Sequence[str]) -> Checkpoint:
    is_plugin = type(reader).__module__.partition(".")[0] != "rmtaudit"
    if is_plugin and not reader.by_position and isinstance(path, RemotePath) and path.streamed:
        raise InputError(
            "RA-IN-226",
            f"The reader {display_name(reader.name)!r} of another package needs the file on this machine.",
            hint="Omit --stream, or download the file.",
            where=display_name(path.name),
        )
    with collector_paused():
        try:
            checkpoint = reader.open(path)
        except RmtauditError:
            raise
        except Exception as error:  # as in _load: only what a plugin raises is its fault
            if not is_plugin:
                raise
            raise _failed(reader, path, error) from error
    checkpoint.warnings = (*warnings, *checkpoint.warnings)
    return checkpoint


def reader_for(path: Path) -> tuple[Reader, list[str]]:
    """Return the reader of a file, by its content, and warnings. Raises as :func:`open_file`.

    Our readers come first where they know the file beyond doubt, then those of plugins, then ours that can
    try it (a zip archive without a ``data.pkl``, a pickle of another library).
    """
    contents, size = contents_of(path)
    part = part_refusal(path)
    if part is not None:
        raise part
    own = own_readers()
    problems: list[str] = []
    reader = next((each for each in own if each.recognises(contents)), None)
    reader = reader or _first_plugin(contents, path, problems)
    reader = reader or next((each for each in own if each.may_know(contents)), None)
    if reader is not None:
        return reader, [*problems, *_compare_extension(path, reader, own)]
    broken = file_refusal(path, contents.head) or broken_download(path, contents.head, size)
    if broken is not None:
        raise broken
    if problems:
        raise UsageError(
            "RA-IN-019",
            f"No reader recognises this file, but some readers could not be tried: {' '.join(problems)}",
            hint="Repair or uninstall the plugin.",
            where=display_name(path.name),
        )
    foreign = foreign_format(path, contents.head)
    if foreign is not None:
        raise foreign
    for each in own:  # its own checks say what is wrong with a file that claims to be of its format
        if each.strict and path.suffix.lower() in each.extensions:
            return each, []
    raise NotACheckpointError(
        "RA-IN-018",
        f"No reader recognises a file that begins with {contents.head[:8]!r}.",
        hint=f"Known formats: {', '.join(each.name for each in own)}.",
        where=display_name(path.name),
    )


def read_head(path: Path) -> tuple[bytes, int]:
    """Return the first bytes of a regular file (up to 4096) and its size. Raises ``InputError``."""
    source = FileSource(path)
    try:
        return bytes(source.pread(0, min(HEAD, source.size))), source.size
    finally:
        source.abandon()


def contents_of(path: Path) -> tuple[Contents, int]:
    """Return what readers see of a regular file or a member of an archive, and its size in bytes.

    Raises
    ------
    InputError
        It cannot be read.
    """
    source = open_source(path)
    try:
        head = bytes(source.pread(0, min(HEAD, source.size)))
        return Contents(head=head, names=_zip_names(source) if head.startswith(b"PK") else ()), source.size
    finally:
        source.abandon()


def _zip_names(source: FileSource) -> tuple[str, ...]:
    try:
        return tuple(sorted(entry.name for entry in list_entries(source)))
    except (CorruptError, UnsafeError):  # whoever opens it says what is wrong with it
        return ()


def own_readers() -> list[Reader]:
    """Return rmtaudit's own readers. Raises ``UsageError`` (RA-IN-019) where the package is not installed."""
    own = [_own_reader(entry) for entry in registered(GROUP) if is_own(entry)]
    if not own:
        raise UsageError(
            "RA-IN-019",
            "The built-in readers of rmtaudit are not registered.",
            hint="Install the package: pip install rmtaudit",
        )
    return own


def extensions() -> dict[str, tuple[str, ...]]:
    """Return the usual file endings of each built-in reader, by its name."""
    return {reader.name: reader.extensions for reader in own_readers()}


def families(readers: Iterable[Reader]) -> list[tuple[str, ...]]:
    """Return the endings by which weights are found in a folder, those of one family of formats together.

    Readers that share an ending are of one family; families are in the order of :attr:`Reader.place`.
    """
    found: list[tuple[str, ...]] = []
    for reader in sorted(readers, key=lambda each: (each.place, each.name)):
        endings = tuple(ending.lower() for ending in reader.extensions)
        if not endings:
            continue
        shared = next((each for each in found if set(each) & set(endings)), None)
        if shared is None:
            found.append(endings)
        else:
            found[found.index(shared)] = tuple(dict.fromkeys((*shared, *endings)))
    return found


def plugin_readers(problems: list[str]) -> Iterator[Reader]:
    """Yield the readers of other distributions; what cannot be loaded goes to ``problems``."""
    for entry in registered(GROUP):
        if is_own(entry) or not is_allowed(entry):
            continue
        try:
            yield _load(entry)
        except UsageError as error:
            problems.append(error.message)


@lru_cache(maxsize=64)
def _own_reader(entry: EntryPoint) -> Reader:
    """Return a reader of ours, which keeps nothing of the files that it opens: one serves all of them."""
    return _load(entry)


def _load(entry: EntryPoint) -> Reader:
    try:
        made = entry.load()()
    except RmtauditError:
        raise
    except Exception as error:  # a plugin is foreign code: whatever it raises is named, and raised on
        raise UsageError(
            "RA-IN-019",
            f"The reader {display_name(entry.name)!r} ({display_name(entry.value)}) cannot be "
            f"loaded: {type(error).__name__}: {display_name(str(error))}.",
        ) from error
    if not isinstance(made, Reader):
        raise UsageError("RA-IN-019", f"{display_name(entry.value)} is not a reader.")
    return made


def _first_plugin(contents: Contents, path: Path, problems: list[str]) -> Reader | None:
    """Return the first plugin that knows the contents; what fails to look at them goes to ``problems``."""
    for reader in plugin_readers(problems):
        try:
            if reader.recognises(contents):
                return reader
        except Exception as error:  # as above: one broken plugin is no reason not to ask the others
            problems.append(_failed(reader, path, error).message)
    return None


def _failed(reader: Reader, path: Path, error: Exception) -> InputError:
    reason = f"{type(error).__name__}: {display_name(str(error))}"
    return InputError(
        "RA-IN-019",
        f"The reader {display_name(reader.name)!r} failed: {reason}.",
        hint="Report it to the plugin's author, or remove it from RMTAUDIT_PLUGINS.",
        where=display_name(path.name),
    )


def _compare_extension(path: Path, reader: Reader, own: list[Reader]) -> list[str]:
    """Refuse a file that claims the safe format and is of another; warn of other disagreements."""
    suffix = path.suffix.lower()
    if not suffix or suffix in (*reader.extensions, *reader.other_extensions):
        return []
    promised = next((each for each in own if each.strict and suffix in each.extensions), None)
    if promised is not None:
        raise UnsafeError(
            "RA-IN-016",
            f"The file name indicates {promised.name}, but the content is {reader.name}.",
            hint="It may have been made to pass for a safe file. If you know what it is, rename it.",
            where=display_name(path.name),
        )
    if any(suffix in (*other.extensions, *other.other_extensions) for other in own):
        return [f"the name ends in {display_name(suffix)}, but the content is {reader.name}"]
    return []
