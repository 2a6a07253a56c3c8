"""The pages in Chromium: no error, no request, no sideways scrolling, nothing that axe-core calls serious.

Skipped where there is no Chromium, Node.js, puppeteer-core or axe-core; CONTRIBUTING.md says how to get them.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import gates
import pytest
import torch
from rankings import ranking
from zoos import zoo

import rmtaudit
from rmtaudit.kernels.spectra.spectrum import Spectrum
from rmtaudit.report.page.gate import gate_page
from rmtaudit.report.page.ranking import ranking_page
from rmtaudit.report.page.scan import scan_page
from rmtaudit.report.page.zoo import zoo_page
from rmtaudit.report.plots.esd import EsdCollector

HERE = Path(__file__).parent
FILTERED = ("scan.html", "compare.html", "zoo.html", "ranking.html")
"""Pages with a table that is long enough for a filter."""

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
HOSTILE = '</style><script>document.title = "owned"</script>"{{7*7}}'


def missing() -> str:
    """Return what the browser test lacks here; an empty text for nothing."""
    node = shutil.which("node")
    if node is None or CHROMIUM is None:
        return "needs Chromium and Node.js"
    script = "require('axe-core'); require('puppeteer-core')"
    done = subprocess.run([node, "-e", script], capture_output=True, check=False)
    return "" if done.returncode == 0 else "needs the npm packages axe-core and puppeteer-core on NODE_PATH"


def factory() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reports_by_hand", HERE.parent / "report" / "factory.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scan() -> str:
    made = factory()
    found = made.finding("RA-FO-001", "error", "The rank is 16 of 128.", {"rank": 16})
    layers = tuple(made.layer(f"blocks.{place}.mlp.weight", 2 + place / 10) for place in range(24))
    report = made.report((*layers, made.layer(HOSTILE, findings=(found,), verdict="damaged (RA-FO-001)")))
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(60, 40, generator=generator, dtype=torch.float64)
    values = torch.linalg.eigvalsh(matrix.T @ matrix)
    spectrum = Spectrum(eigenvalues=values, rows=60, cols=40, method="exact", floor=0.0, unresolved=0)
    collector = EsdCollector()
    for layer in report.layers:
        collector.add(layer, spectrum)
    return scan_page([report], esd=[collector])


def comparison() -> str:
    generator = torch.Generator().manual_seed(0)
    base = {f"layers.{at}.weight": torch.randn(64, 48, generator=generator) for at in range(12)}
    update = 0.05 * torch.randn(64, 1, generator=generator) @ torch.randn(1, 48, generator=generator)
    tuned = {name: weight + update for name, weight in base.items()}
    return rmtaudit.compare(base, tuned | {HOSTILE: torch.ones(9, 9)}).to_html()


@pytest.mark.slow
def test_pages_in_chromium(tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    made = factory()
    pages = {
        "scan": scan(),
        "hostile": scan_page([made.hostile_report()]),
        "compare": comparison(),
        "gate": gate_page(gates.document(gates.subject(gates.check(HOSTILE)), gates.unreadable())),
        "zoo": zoo_page(zoo(40, made.report().tool, hostile=HOSTILE)),
        "ranking": ranking_page(ranking(40, hostile=HOSTILE)),
    }
    files = [tmp_path / f"{name}.html" for name in pages]
    for file, text in zip(files, pages.values(), strict=True):
        file.write_text(text, encoding="utf-8")
    command = [str(shutil.which("node")), str(HERE / "check_page.cjs"), str(CHROMIUM), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == 2 * len(pages)
    for result in results:
        assert result["problems"] == [], result
        filtered = {"sort": "ascending", "left": 0, "count": "0"}
        allowed = [filtered] if result["file"] in FILTERED else [filtered, {"sort": "ascending"}]
        assert result["sorted"] in allowed, result
