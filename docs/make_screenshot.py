"""Draw the README's picture: what `make scan` prints, as SVG. Run from the project's root after a change of looks."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

import rmtaudit
from rmtaudit.cli import table

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    report = rmtaudit.scan("examples/silero_vad_v6_16k.safetensors")
    console = Console(record=True, width=118, file=sys.stderr, highlight=False, force_terminal=True)
    console.print("[bold]$[/] rmtaudit scan examples/silero_vad_v6_16k.safetensors\n")
    table.draw_report(console, report, top=25)
    target = ROOT / "docs" / "images" / "scan.svg"
    target.write_text(console.export_svg(title="rmtaudit scan", unique_id="rmtaudit"), encoding="utf-8")


if __name__ == "__main__":
    main()
