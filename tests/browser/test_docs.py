"""Ten pages of the documentation in Chromium: nothing cut, nothing foreign, nothing serious for axe-core.

Skipped where there is no Chromium, Node.js, puppeteer-core, axe-core or MkDocs.
"""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGES = (
    "",
    "concepts/alpha/",
    "concepts/phases/",
    "how-to/audit-a-download/",
    "peers/",
    "analyzers/noise/",
    "commands/scan/",
    "findings/",
    "reference/python/",
    "benchmarks/",
)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.mark.slow
def test_ten_pages_in_chromium(tmp_path: Path) -> None:
    node = shutil.which("node")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if node is None or chromium is None or importlib.util.find_spec("material") is None:
        pytest.skip("needs Chromium, Node.js and Material for MkDocs")
    script = "require('axe-core'); require('puppeteer-core')"
    if subprocess.run([node, "-e", script], capture_output=True, check=False).returncode:
        pytest.skip("needs the npm packages axe-core and puppeteer-core on NODE_PATH")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True, cwd=ROOT, timeout=300)
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        addresses = [f"http://127.0.0.1:{server.server_address[1]}/{page}" for page in PAGES]
        command = [node, str(HERE / "check_page.cjs"), chromium, *addresses]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
        server.shutdown()
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == 2 * len(PAGES)
    assert not {
        f"{each['file']} {each['scheme']}: {each['problems']}" for each in results if each["problems"]
    }
