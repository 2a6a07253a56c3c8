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
        ("config show --preset audit > rmtaudit.yaml", "Start a configuration file from a preset"),
    ],
)
@click.option("--origin", is_flag=True, help="Show where each value comes from.")
@settings_flags
def show(origin: bool, **flags: Any) -> None:
    """Show the settings that a scan from this folder with these flags would have."""
    from rmtaudit.engine.settings.presets import resolve_settings

    for line in settings_lines(resolve_settings(entries_of(flags)), origins=origin):
        click.echo(line)


SCHEMAS = (
    "report", "gate", "policy", "comparison", "lineage", "merge", "claim", "whatif", "extraction", "zoo",
    "rank", "probe",
)  # fmt: skip
"""Documents whose schema is published: those of :mod:`rmtaudit.report.schemas`, and policies."""


@config.command(
    examples=[
        ("config schema report > report.schema.json", "Save the schema of reports"),
        ("config schema lineage", "Print the schema of the family tree of a folder of models"),
    ]
)
@click.argument("name", type=click.Choice(SCHEMAS))
def schema(name: str) -> None:
    """Print the JSON Schema (2020-12) of a document.

    `report` is what `scan` writes, `policy` what `gate` is given, `gate` what it writes, `comparison` what
    `compare` writes, `claim` what `compare --claim` writes, `lineage` and `merge` what `lineage` writes,
    `whatif` what `whatif` writes, `extraction` what `extract-lora` writes, `zoo` what `zoo` writes as
    `zoo.json`, and `rank` what `rank` writes.
    """
    if name == "policy":
        from rmtaudit.engine.gate.policy import policy_schema

        printed = policy_schema()
    else:
        from rmtaudit.report.schemas import document_schema

        printed = document_schema(name)
    click.echo(json.dumps(printed, indent=2))


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
