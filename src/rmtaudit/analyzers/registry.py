"""The analyzers that are installed, found through the entry-point group ``rmtaudit.analyzers``.

Nothing is imported before it is asked for.
Analyzers of other distributions run code of theirs; ``RMTAUDIT_PLUGINS=name,name`` lets in only those named
(unset or empty: all). Those of rmtaudit itself are always there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from importlib.metadata import EntryPoint
from typing import Any

from rmtaudit.analyzers.base import Analyzer, Metric
from rmtaudit.analyzers.options import check_options
from rmtaudit.entry_points import is_allowed, is_own, registered
from rmtaudit.errors import UsageError
from rmtaudit.finding_kind import FindingKind
from rmtaudit.names import display_name, suggestion

GROUP = "rmtaudit.analyzers"
_CODE = re.compile(r"[A-Z][A-Z0-9]*(-[A-Z0-9]+)+")
_OWN_CODES = "RA-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One row of ``rmtaudit analyzers``: an analyzer that can run, or why it cannot.

    Attributes
    ----------
    name, distribution, version
        Name of the entry point, and who ships it.
    analyzer
        The class; ``None`` where it cannot be loaded, and then ``problem`` says why.
    """

    name: str
    distribution: str
    version: str
    analyzer: type[Analyzer] | None
    problem: str = ""


def available() -> tuple[str, ...]:
    """Return the names of the analyzers that may be loaded, sorted. Imports none of them."""
    return tuple(sorted({entry.name for entry in registered(GROUP) if is_allowed(entry)}))


def installed() -> tuple[Installed, ...]:
    """Return every analyzer found, sorted by name, broken and forbidden ones included. Imports them."""
    rows = []
    for entry in registered(GROUP):
        distribution, version = _origin(entry)
        analyzer, problem = None, ""
        if is_allowed(entry):
            try:
                analyzer = load(entry.name)
            except UsageError as error:
                problem = error.message
        else:
            problem = "not named in RMTAUDIT_PLUGINS"
        rows.append(
            Installed(
                name=entry.name,
                distribution=distribution,
                version=version,
                analyzer=analyzer,
                problem=problem,
            )
        )
    return tuple(rows)


def load(name: str) -> type[Analyzer]:
    """Return the analyzer class of that name.

    Raises ``UsageError``: unknown (RA-US-101), not importable (RA-US-102), not an analyzer (RA-US-103), or
    shipped twice (RA-US-104).
    """
    entries = [entry for entry in registered(GROUP) if entry.name == name and is_allowed(entry)]
    if not entries:
        raise _unknown(name)
    if len(entries) > 1:
        owners = " and ".join(sorted(f"{_origin(entry)[0]} ({entry.value})" for entry in entries))
        raise UsageError(
            "RA-US-104",
            f"Two analyzers are named {name!r}: {owners}.",
            hint="Uninstall one of them, or leave it out of RMTAUDIT_PLUGINS.",
        )
    return _materialise(entries[0])


def plugin_findings(problems: list[str]) -> tuple[FindingKind, ...]:
    """Return the kinds of findings that analyzers of other distributions bring; imports these analyzers.

    What cannot be loaded goes to ``problems``, a sentence each.
    """
    kinds: list[FindingKind] = []
    for entry in registered(GROUP):
        if is_own(entry) or not is_allowed(entry):
            continue
        try:
            kinds.extend(load(entry.name).findings)
        except UsageError as error:
            problems.append(error.message)
    return tuple(dict.fromkeys(kinds))


def plugin_versions(names: Collection[str]) -> dict[str, str]:
    """Return the other distributions that ship analyzers of these names, with versions. Imports none."""
    entries = [entry for entry in registered(GROUP) if entry.name in names and not is_own(entry)]
    return dict(map(_origin, entries))


def options_of_own() -> dict[str, tuple[str, ...]]:
    """Return the names of the options of each analyzer of rmtaudit; imports all of them."""
    own = sorted(entry.name for entry in registered(GROUP) if is_own(entry))
    return {name: tuple(field.name for field in fields(load(name).Options)) for name in own}


def build(name: str, options: Mapping[str, Any] | None = None) -> Analyzer:
    """Return the analyzer of that name with its options set; absent ones have their defaults.

    Raises ``UsageError``: as :func:`load`, or an option is unknown (RA-US-106), of the wrong type
    (RA-US-107) or refused by the analyzer (RA-US-108).
    """
    analyzer = load(name)
    return analyzer(check_options(name, analyzer.Options, options or {}))


def build_all(
    names: Iterable[str], options: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Analyzer, ...]:
    """Return the analyzers of a scan, in the order of ``names``.

    Raises ``UsageError`` as :func:`build`, and RA-US-105 where two of them yield a metric of the same name:
    one of the two numbers would be lost.
    """
    options = options or {}
    built = tuple(build(name, options.get(name)) for name in dict.fromkeys(names))
    owners: dict[str, str] = {}
    for analyzer in built:
        for metric in analyzer.active_metrics():
            other = owners.setdefault(metric.name, analyzer.name)
            if other != analyzer.name:
                raise UsageError(
                    "RA-US-105",
                    f"The analyzers {other!r} and {analyzer.name!r} both compute the metric {metric.name!r}.",
                    hint="Scan with one of them at a time.",
                )
    return built


def metric_catalogue(analyzers: Iterable[Analyzer]) -> dict[str, dict[str, Any]]:
    """Return the report's words on every active metric: ``{name: {analyzer, unit, better, …}}``, in order."""
    return {
        metric.name: {
            "analyzer": analyzer.name,
            "unit": metric.unit,
            "better": metric.better,
            "description": metric.description,
            "reference": metric.reference,
        }
        for analyzer in analyzers
        for metric in analyzer.active_metrics()
    }


def _origin(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "")


def _unknown(name: str) -> UsageError:
    names = available()
    return UsageError(
        "RA-US-101",
        f"Unknown analyzer {display_name(name)!r}.{suggestion(name, names)}",
        hint=f"Available: {', '.join(names) or 'none'}.",
    )


def _materialise(entry: EntryPoint) -> type[Analyzer]:
    try:
        loaded = entry.load()
    except Exception as error:  # a plugin's import may raise anything; it is reported, not hidden
        reason = display_name(f"{type(error).__name__}: {error}")
        raise UsageError(
            "RA-US-102",
            f"The analyzer {entry.name!r} of {_origin(entry)[0]} cannot be imported: {reason}",
            hint="Repair or uninstall it; rmtaudit runs without it.",
        ) from error
    problem = _problem(entry.name, loaded, own=is_own(entry))
    if problem:
        raise UsageError("RA-US-103", f"{entry.value} of {_origin(entry)[0]} is not an analyzer: {problem}.")
    return loaded  # type: ignore[no-any-return]  # _problem has checked it


def _problem(name: str, loaded: object, *, own: bool) -> str:
    if not (isinstance(loaded, type) and issubclass(loaded, Analyzer)):
        return "it is not a subclass of rmtaudit.analyzers.base.Analyzer"
    missing = [key for key in ("name", "metrics", "Options") if not hasattr(loaded, key)]
    if missing:
        return f"it declares no {', '.join(missing)}"
    if loaded.name != name:
        return f"its name is {loaded.name!r}, but that of its entry point is {name!r}"
    metrics = loaded.metrics
    if not all(isinstance(metric, Metric) for metric in metrics):
        return "not all of its metrics are instances of Metric"
    if len({metric.name for metric in metrics}) != len(metrics):
        return "it declares a metric twice"
    if not all(isinstance(kind, FindingKind) for kind in loaded.findings):
        return "not all of its findings are instances of FindingKind"
    for kind in loaded.findings:
        if not _CODE.fullmatch(kind.code):
            return f"its finding {kind.code!r} needs a code such as TS-001"
        if kind.code.startswith(_OWN_CODES) and not own:
            return f"its finding {kind.code} has the prefix of rmtaudit's own codes"
    if loaded.stands_in and "spectrum" in loaded.needs:
        return "it needs the spectrum that it replaces"
    return ""
