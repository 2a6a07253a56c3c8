"""Matrix sources of other distributions: the entry-point group ``rmtaudit.sources``."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

from rmtaudit.engine.sources.recognise import PLUGINS
from rmtaudit.entry_points import is_allowed, registered
from rmtaudit.errors import InputError, RmtauditError, UsageError
from rmtaudit.matrices.sources import MatrixSource, SourceOpener
from rmtaudit.matrices.sources.arrays import declared_symmetry
from rmtaudit.names import display_name


def plugin_source(text: str, symmetric: bool | None) -> MatrixSource | None:
    """Open a SOURCE with the plugin that knows it; ``None`` where none does.

    Parameters
    ----------
    text
        The SOURCE, as it was given.
    symmetric
        As the user declares it; ``None`` leaves it to the source, whose claim is checked.

    Raises
    ------
    UsageError
        RA-MS-038: a plugin cannot be loaded, or what it made is no source.
    InputError
        RA-MS-039: it failed.
    """
    for opener in _openers():
        if not _asked(opener, text):
            continue
        source = _made(opener, text)
        told = declared_symmetry(symmetric, source.square, source.name)
        if told is not None:
            source.take_symmetry(told)
        return source
    return None


def _asked(opener: SourceOpener, text: str) -> bool:
    try:
        return opener.opens(text)
    except RmtauditError:
        raise
    except Exception as error:  # a plugin is foreign code: whatever it raises is named, and raised on
        raise _failed(opener, error) from error


def _made(opener: SourceOpener, text: str) -> MatrixSource:
    try:
        made: object = opener.open(text)
    except RmtauditError:
        raise
    except Exception as error:  # as above
        raise _failed(opener, error) from error
    if not isinstance(made, MatrixSource):
        raise UsageError(
            "RA-MS-038",
            f"The source plugin {display_name(opener.name)!r} opened {display_name(text)!r} as a "
            f"{type(made).__name__}, not as a matrix source.",
        )
    return made


def _openers() -> Iterator[SourceOpener]:
    for entry in registered(PLUGINS):
        if is_allowed(entry):
            yield _load(entry)


def _load(entry: EntryPoint) -> SourceOpener:
    where = f"The source plugin {display_name(entry.name)!r} ({display_name(entry.value)})"
    try:
        made: object = entry.load()()
    except Exception as error:  # as above
        raise UsageError(
            "RA-MS-038",
            f"{where} cannot be loaded: {type(error).__name__}: {display_name(str(error))}.",
            hint="Repair or uninstall it, or remove it from RMTAUDIT_PLUGINS.",
        ) from error
    if not isinstance(made, SourceOpener):
        raise UsageError("RA-MS-038", f"{where} is not a SourceOpener.", hint="Repair or uninstall it.")
    return made


def _failed(opener: SourceOpener, error: Exception) -> InputError:
    return InputError(
        "RA-MS-039",
        f"The source plugin {display_name(opener.name)!r} failed: {type(error).__name__}: "
        f"{display_name(str(error))}.",
        hint=f"It opens {display_name(opener.usage)}.",
    )
