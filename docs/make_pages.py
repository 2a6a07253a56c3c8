"""Make the pictures of docs/html.md, in Chromium: pages of a scan, a comparison, a gate, a zoo, a ranking.

Run it from the project's root: ``python docs/make_pages.py``. It needs Chromium on the path.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import rmtaudit
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run
from rmtaudit.report.gate import GatePolicy
from rmtaudit.report.page.gate import gate_page
from rmtaudit.report.page.ranking import ranking_page
from rmtaudit.report.page.zoo import zoo_page

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))
import gates  # noqa: E402  # made by hand
import rankings  # noqa: E402
import zoos  # noqa: E402

IMAGES = ROOT / "docs" / "images"
EXAMPLE = ROOT / "examples" / "resnet20_cifar10.safetensors"
MOST_BYTES = 150_000
POLICY = GatePolicy(name="standard", version="1", sha256="cd" * 32, sources=("standard",))
CHECKS = (
    gates.check("layer2.1.conv2.weight"),
    gates.check("layer3.0.conv1.weight", outcome="inconclusive"),
    *(gates.check(f"layer1.{at}.conv1.weight", outcome="passed") for at in range(3)),
)


def main() -> int:
    """Write docs/images/page-*.png; return 1 where Chromium is missing."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("Chromium is not on the path.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        damaged, tuned = Path("resnet20_damaged.safetensors"), Path("resnet20_tuned.safetensors")
        save_file(damaged_weights(), damaged)
        save_file(tuned_weights(), tuned)
        scan, comparison = Path("scan.html"), Path("compare.html")
        run(cli, ["scan", str(damaged), "-o", str(scan), "-q"])
        run(cli, ["compare", str(EXAMPLE), str(tuned), "-o", str(comparison), "-q", "--no-metrics"])
        gate, zoo = Path("gate.html"), Path("zoo.html")
        gate.write_text(gate_page(gates.document(gates.subject(*CHECKS), policy=POLICY)), encoding="utf-8")
        tool = rmtaudit.scan({"a": torch.eye(40)}, analyzers=["scale"]).tool
        zoo.write_text(zoo_page(zoos.zoo(60, tool)), encoding="utf-8")
        ranking = Path("ranking.html")
        ranking.write_text(ranking_page(rankings.ranking(40)), encoding="utf-8")
        for page in (scan, comparison, gate, zoo, ranking):
            shoot(browser, page, IMAGES / f"page-{page.stem}.png", (1100, 860))
        shoot(browser, scan, IMAGES / "page-phone.png", (500, 860))
    return 0


def damaged_weights() -> dict[str, torch.Tensor]:
    """Return the example with one layer of low rank and one with a NaN."""
    weights = load_file(EXAMPLE)
    names = [name for name, weight in weights.items() if weight.ndim == 4 and weight.shape[0] >= 32]
    flat = weights[names[3]].flatten(1).double()
    left, values, right = torch.linalg.svd(flat, full_matrices=False)
    low = (left[:, :6] * values[:6]) @ right[:6]
    weights[names[3]] = low.float().reshape(weights[names[3]].shape).contiguous()
    weights[names[6]].view(-1)[40] = float("nan")
    return weights


def tuned_weights() -> dict[str, torch.Tensor]:
    """Return the example with a small update of rank 2 on every second convolution."""
    weights = load_file(EXAMPLE)
    generator = torch.Generator().manual_seed(0)
    for name in [name for name, weight in weights.items() if weight.ndim == 4][1::2]:
        flat = weights[name].flatten(1)
        rows, columns = flat.shape
        update = torch.randn(rows, 2, generator=generator) @ torch.randn(2, columns, generator=generator)
        scale = 0.04 * flat.norm() / update.norm()
        weights[name] = (flat + scale * update).reshape(weights[name].shape).contiguous()
    return weights


def shoot(browser: str, page: Path, target: Path, size: tuple[int, int]) -> None:
    """Write the top of a page as PNG; raises ``RuntimeError`` where the file is too large for the docs."""
    width, height = size
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={width},{height}"]
    subprocess.run(
        [browser, *options, f"--screenshot={target}", page.resolve().as_uri()],
        check=True,
        capture_output=True,
    )
    if target.stat().st_size > MOST_BYTES:
        raise RuntimeError(f"{target.name} has {target.stat().st_size} bytes, more than {MOST_BYTES}.")


if __name__ == "__main__":
    sys.exit(main())
