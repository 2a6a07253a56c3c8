"""The settings of a scan, resolved from every place where they may be written.

Each place overrides those before it: the shipped preset, the user's file, the nearest project file, the
environment (``RMTAUDIT_*``), the flags. Which preset is the first of them is itself a setting.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import platformdirs

from rmtaudit.engine.settings.config_files import Entry, find_project_file, parse_yaml, read_config
from rmtaudit.engine.settings.keys import CHECKS, check_setting, split_text, unknown_key
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.engine.settings.strict_yaml import parse_scalar
from rmtaudit.errors import UsageError
from rmtaudit.names import display_name, suggestion
from rmtaudit.report.columns import PROPERTIES

_PREFIX = "RMTAUDIT_"
_NOT_SETTINGS = frozenset({"RMTAUDIT_PLUGINS", "RMTAUDIT_DEBUG"})


@dataclass(frozen=True, slots=True)
class ResolvedSettings:
    """Settings, and where each value was written.

    Attributes
    ----------
    settings
        What a scan takes. ``settings.options`` holds only those of the chosen analyzers.
    origins
        ``{"seed": "rmtaudit.yaml:3", "options.powerlaw.bootstrap": "--bootstrap", …}``: a key for every
        setting and every option that was set.
    explicit
        The keys that were written by the user, in whatever place; the others are those of the preset.
    """

    settings: ScanSettings
    origins: Mapping[str, str]
    explicit: frozenset[str]


def preset_names() -> tuple[str, ...]:
    """Return the names of the shipped presets, sorted."""
    paths = (Path(file.name) for file in files("rmtaudit.configs").iterdir())
    return tuple(sorted(path.stem for path in paths if path.suffix == ".yaml"))


def resolve_settings(
    flags: Iterable[Entry] = (), *, folder: Path | None = None, environ: Mapping[str, str] | None = None
) -> ResolvedSettings:
    """Return the settings of a command: preset, user file, project file, environment, flags.

    Parameters
    ----------
    flags
        The strongest values, later ones over earlier ones.
    folder
        Where the search for a project file begins, upwards; the current folder.
    environ
        The environment; ``os.environ``.

    Raises
    ------
    UsageError
        RA-CF-001 to RA-CF-011, naming the file and line, the variable or the flag. Whether an analyzer and
        its options exist is for :func:`rmtaudit.analyzers.registry.build_all` to say: it has to import them.
    """
    flags = list(flags)
    entries = [*_files(folder or Path.cwd()), *_variables(os.environ if environ is None else environ), *flags]
    resolved = _merge(entries)
    for entry in flags:
        if len(entry.key) > 1 and entry.key[1] not in resolved.settings.analyzers:
            raise UsageError(
                "RA-CF-011",
                f"{'.'.join(entry.key[1:])} has no effect: the scan does not run {entry.key[1]!r}.",
                hint=f"The scan runs: {', '.join(resolved.settings.analyzers)}.",
                where=entry.where,
            )
    return resolved


def preset_settings(preset: str = "default", **overrides: Any) -> ResolvedSettings:
    """Return the settings of a preset with keyword arguments over it; no file and no variable is read.

    ``overrides`` are the fields of :class:`ScanSettings`; ``None`` leaves the preset's value. Raises
    ``UsageError`` as :func:`resolve_settings`.
    """
    entries = [Entry(("preset",), preset, "argument preset")]
    for key, value in overrides.items():
        where = f"argument {key}"
        if value is None:
            continue
        if key == "options":
            entries += _options(value, where)
        elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
            entries.append(Entry((key,), list(value), where))
        else:
            entries.append(Entry((key,), value, where))
    return _merge(entries)


def _options(value: object, where: str) -> Iterator[Entry]:
    """Yield the entries of options in Python; raises ``UsageError`` (RA-CF-006) for what is no mapping."""
    for name, options in _mapping(value, "options", where).items():
        for option, item in _mapping(options, f"options[{name!r}]", where).items():
            yield Entry(("options", str(name), str(option)), item, where)


def _mapping(value: object, what: str, where: str) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    shown = display_name(repr(value), longest=60)
    raise UsageError(
        "RA-CF-006",
        f"{display_name(what)} must be a mapping, not {shown}.",
        hint=(
            'Write, for example, options={"powerlaw": {"bootstrap": 200}} to set an option of an analyzer.'
        ),
        where=where,
    )


def flag(key: str, text: str, where: str) -> Entry:
    """Return the entry for the text of a flag or variable: ``flag("analyzers", "a,b", "--analyzers")``.

    A key with a dot is an option of an analyzer. Raises ``UsageError``: RA-CF-005 unknown key, RA-CF-007 a
    number that is not finite.
    """
    analyzer, dot, option = key.partition(".")
    if dot:
        return Entry(("options", analyzer, option), parse_scalar(text, where), where)
    if key not in CHECKS:
        raise unknown_key(key, (*CHECKS, "<analyzer>.<option>"), where)
    value = split_text(key, text)
    textual = isinstance(value, list) or key in ("preset", "sort")
    return Entry((key,), value if textual else parse_scalar(text, where), where)


def assignments(text: str, where: str) -> list[Entry]:
    """Return the entries of ``KEY=VALUE``; raises ``UsageError`` (RA-CF-012) where there is no ``=``."""
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(
            "RA-CF-012", f"The setting is not of the form KEY=VALUE: {display_name(text)}", where=where
        )
    return [flag(key.strip(), value.strip(), where)]


def select_metrics(resolved: ResolvedSettings, names: Iterable[str]) -> ScanSettings:
    """Return the settings with ``sort`` and ``columns`` that the scan can fill.

    Both take metrics and the properties of a layer (:data:`rmtaudit.report.columns.PROPERTIES`).

    A preset's choice gives way where the chosen analyzers do not yield it; what the user wrote does not.

    Parameters
    ----------
    resolved
        Settings with their origins.
    names
        The metrics of the scan, in column order.

    Raises
    ------
    UsageError
        RA-CF-013 for what the user asked for and is no property, nor a metric of the scan.
    """
    settings, names = resolved.settings, tuple(names)
    known = (*names, *PROPERTIES)
    for key, chosen in (("sort", (settings.sort,)), ("columns", settings.columns)):
        unknown = [name for name in chosen if name not in known]
        if unknown and key in resolved.explicit:
            near = suggestion(unknown[0], known)
            raise UsageError(
                "RA-CF-013",
                f"No analyzer of this scan yields the metric {display_name(unknown[0])!r}.{near}",
                hint="Run `rmtaudit analyzers` to list the metrics of each analyzer."
                if near
                else f"Its metrics: {', '.join(names)}; properties of a layer: {', '.join(PROPERTIES)}.",
                where=resolved.origins[key],
            )
    columns = tuple(name for name in settings.columns if name in known) or names[:6]
    sort = settings.sort if settings.sort in known else columns[0]
    return replace(settings, columns=columns, sort=sort)


def _files(folder: Path) -> list[Entry]:
    user = Path(platformdirs.user_config_dir("rmtaudit", appauthor=False)) / "config.yaml"
    project = find_project_file(folder)
    entries = read_config(user) if user.is_file() else []
    return entries + (read_config(project) if project else [])


def _variables(environ: Mapping[str, str]) -> list[Entry]:
    entries: list[Entry] = []
    for variable in sorted(environ):
        text = environ[variable].strip()
        if not variable.startswith(_PREFIX) or variable in _NOT_SETTINGS or not text:
            continue
        key = variable.removeprefix(_PREFIX).lower()
        if key == "options":
            for piece in text.split(","):
                entries += assignments(piece, variable)
        elif key in CHECKS:
            entries.append(flag(key, text, variable))
        else:
            known = [_PREFIX + name.upper() for name in (*CHECKS, "options")] + sorted(_NOT_SETTINGS)
            error = unknown_key(variable, known, "environment")
            raise UsageError("RA-CF-010", error.message, hint=error.hint, where="environment")
    return entries


def _merge(entries: list[Entry]) -> ResolvedSettings:
    chosen = Entry(("preset",), "default", "built-in")
    for entry in entries:
        if entry.key == ("preset",):
            chosen = entry
    merged = {entry.key: entry for entry in (chosen, *_preset(chosen), *entries)}
    values = {
        key[0]: check_setting(key[0], entry.value, entry.where)
        for key, entry in merged.items()
        if len(key) == 1
    }
    origins = dict.fromkeys(CHECKS, "built-in") | {
        ".".join(key): entry.where for key, entry in merged.items() if len(key) == 1
    }
    options: dict[str, dict[str, Any]] = {}
    for key, entry in merged.items():
        if len(key) == 3 and key[1] in values["analyzers"]:
            options.setdefault(key[1], {})[key[2]] = entry.value
            origins[".".join(key)] = entry.where
    explicit = frozenset(".".join(entry.key) for entry in entries)
    return ResolvedSettings(ScanSettings(**values, options=options), origins, explicit)


def _preset(chosen: Entry) -> list[Entry]:
    names = preset_names()
    if chosen.value not in names:
        preset = str(chosen.value)
        raise UsageError(
            "RA-CF-008",
            f"Unknown preset {display_name(preset)!r}.{suggestion(preset, names)}",
            hint=f"Presets: {', '.join(names)}.",
            where=chosen.where,
        )
    text = files("rmtaudit.configs").joinpath(f"{chosen.value}.yaml").read_text(encoding="utf-8")
    return [
        Entry(entry.key, entry.value, f"preset {chosen.value}") for entry in parse_yaml(text, chosen.value)
    ]
