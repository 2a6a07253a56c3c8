"""Draw the README's picture: what a scan prints, as SVG. Run it from the project's root."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

import rmtaudit
from rmtaudit.cli import table

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Write docs/images/scan.svg."""
    report = rmtaudit.scan("examples/silero_vad_v6_16k.safetensors")
    console = Console(record=True, width=118, file=sys.stderr, highlight=False, force_terminal=True)
    console.print("[bold]$[/] rmtaudit scan examples/silero_vad_v6_16k.safetensors\n")
    table.draw_report(console, report, top=None)
    target = ROOT / "docs" / "images" / "scan.svg"
    target.write_text(console.export_svg(title="rmtaudit scan", unique_id="rmtaudit"), encoding="utf-8")


if __name__ == "__main__":
    main()
