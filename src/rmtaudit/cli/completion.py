"""What the shell completes: presets, analyzers, metrics and codes. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _presets() -> dict[str, str]:
    from rmtaudit.engine.settings.presets import preset_names

    return dict.fromkeys(preset_names(), "")


def _analyzers() -> dict[str, str]:
    from rmtaudit.analyzers.registry import available

    return dict.fromkeys(available(), "")


def _metrics() -> dict[str, str]:
    from rmtaudit.analyzers.registry import installed

    return {
        metric.name: metric.description
        for row in installed()
        if row.analyzer is not None
        for metric in row.analyzer.metrics
    }


def _columns() -> dict[str, str]:
    from rmtaudit.report.columns import PROPERTIES

    return _metrics() | dict(PROPERTIES)


def _findings() -> dict[str, str]:
    from rmtaudit.report.catalogue import FINDINGS

    return {code: kind.title for code, kind in FINDINGS.items()}


def _conditions() -> dict[str, str]:
    severities = {"never": "exit with 0", "warning": "warnings and errors", "error": "errors"}
    return severities | _findings()


def _subjects() -> dict[str, str]:
    return _findings() | _columns()


def _one(known: Callable[[], dict[str, str]]) -> Complete:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del ctx, param
        return _items(known().items(), incomplete, "")

    return complete


def _list(known: Callable[[], dict[str, str]]) -> Complete:
    """Complete the last of several words with commas between them; those before are not offered again."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del ctx, param
        before, comma, last = incomplete.rpartition(",")
        chosen = set(before.split(","))
        rest = [(word, meaning) for word, meaning in known().items() if word not in chosen]
        return _items(rest, last, before + comma)

    return complete


def _items(rows: Iterable[tuple[str, str]], start: str, prefix: str) -> list[CompletionItem]:
    return [
        CompletionItem(prefix + word, help=meaning or None)
        for word, meaning in rows
        if word.lower().startswith(start.lower())
    ]


preset = _one(_presets)
column = _one(_columns)
subject = _one(_subjects)
analyzers = _list(_analyzers)
columns = _list(_columns)
conditions = _list(_conditions)
