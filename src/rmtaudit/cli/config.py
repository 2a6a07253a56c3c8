"""``rmtaudit config``: the settings that a scan would have, and the schema of its report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from rmtaudit.cli.flags import entries_of, settings_flags
from rmtaudit.cli.help import Group
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from rmtaudit.engine.settings.presets import ResolvedSettings


@click.group(cls=Group)
def config() -> None:
    """Show settings and schemas."""


@config.command(
    examples=[
        ("config show --origin", "The settings of a scan from here, and where each was written"),
        ("config show --preset audit > rmtaudit.yaml", "Begin a configuration file from a preset"),
    ],
)
@click.option("--origin", is_flag=True, help="Say where each value was written.")
@settings_flags
def show(origin: bool, **flags: Any) -> None:
    """Show the settings that a scan from this folder with these flags would have."""
    from rmtaudit.engine.settings.presets import resolve_settings

    for line in settings_lines(resolve_settings(entries_of(flags)), origins=origin):
        click.echo(line)


@config.command(examples=[("config schema report > report.schema.json", "Keep the schema of reports")])
@click.argument("name", type=click.Choice(["report", "gate", "policy"]))
def schema(name: str) -> None:
    """Print the JSON Schema (2020-12) of a document.

    `report`: what a scan writes; `gate`: what a gate writes; `policy`: what a gate is given.
    """
    from rmtaudit.engine.gate.policy import policy_schema
    from rmtaudit.report.gate import gate_schema
    from rmtaudit.report.schema import report_schema

    schemas = {"report": report_schema, "gate": gate_schema, "policy": policy_schema}
    click.echo(json.dumps(schemas[name](), indent=2))


def settings_lines(resolved: ResolvedSettings, *, origins: bool) -> Iterator[str]:
    """Yield a line a setting, as a configuration file would hold it; its origin as a comment."""
    settings = resolved.settings
    for key, origin in resolved.origins.items():
        if key.startswith("options."):
            _, analyzer, option = key.split(".", 2)
            value: Any = settings.options[analyzer][option]
        else:
            value = getattr(settings, key)
        shown = json.dumps(value, ensure_ascii=False)
        comment = f"  # {display_name(origin)}" if origins else ""
        yield f"{display_name(key)}: {display_name(shown, longest=2000)}{comment}"
