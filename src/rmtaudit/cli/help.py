"""How the help of commands looks: options in sections, examples, and no line that is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

SECTIONS: dict[str, tuple[str, ...]] = {
    "What is read": (
        "base", "baseline", "parents", "stream", "include", "exclude", "view", "symmetric", "kernel", "nu",
        "length", "laplacian", "dtype", "shape", "shift", "series", "select", "holds", "matrix", "population",
        "signal", "outputs", "data", "state", "allow_code", "limit", "shuffle", "parameter", "window",
        "labels", "raw", "hold_out", "input_shape",
    ),
    "What is computed": (
        "preset", "analyzers", "conv", "assigned", "bootstrap", "sharp", "pseudo", "size", "factor", "up_to",
        "unshift", "precision", "method", "probes", "steps", "smallest", "side", "fraction", "min_tail",
        "level", "sample", "samples", "sampling", "block_size", "ridge", "replicas", "kpm", "points",
        "tolerance", "confidence", "metrics", "rank", "quantise", "truncate", "prune", "assume_random_order",
        "assume_free", "assume_smooth", "pairs", "columns_of", "features", "pipe", "activation",
        "width", "draws", "loss", "noise", "tokens", "seed",
    ),
    "What is checked": ("policy", "fail_on", "claim", "verify", "against"),
    "Where the result goes": (
        "format_", "output", "json_detail", "sort", "columns", "top", "all_rows", "plots", "plot_format",
        "plot", "minors", "quantiles", "explain", "origin", "dot",
        "folder", "force", "dry_run", "parquet", "init", "out", "to", "github",
    ),
    "Resources": ("memory", "threads", "device", "scratch", "resume", "scheduler", "worker_memory", "rehash",
        "samples_a_block",
        "batch",
    ),
    "Messages": ("quiet", "verbose", "no_progress", "_click_default_help"),
}  # fmt: skip
"""Parameters by the heading that they stand under, in the order of the headings. A name means the same in
every command. What is not listed stands under "Options", which a test holds to be empty."""

_SECTION_OF = {name: heading for heading, names in SECTIONS.items() for name in names}
_OTHERS = "Options"


class Command(click.Command):
    """A command whose help has its options in sections and ends with examples.

    ``examples`` are pairs of a command line, without ``rmtaudit``, and what it does.
    """

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a section for each heading that has any."""
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (*SECTIONS, _OTHERS)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                sections[_SECTION_OF.get(parameter.name or "", _OTHERS)].append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line, meaning in self.examples:
                    formatter.write_text(f"{meaning}:")
                    formatter.indent()
                    formatter.write(f"{'':>{formatter.current_indent}}rmtaudit {line}\n")
                    formatter.dedent()


class Group(click.Group):
    """A group of commands, each with its whole summary."""

    command_class = Command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in the order in which they were added."""
        rows = [(name, self.summary(name)) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def summary(self, name: str) -> str:
        """Return the line of a command in the list of commands."""
        return self.commands[name].get_short_help_str(limit=1000)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which the commands were added."""
        del ctx
        return list(self.commands)
