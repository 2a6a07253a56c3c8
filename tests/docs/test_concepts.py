"""The concept pages show what the commands print, and their pictures exist."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

import rmtaudit
from rmtaudit.cli import cli
from rmtaudit.cli.errors import run

ROOT = Path(__file__).parents[2]
SPEECH = ROOT / "examples" / "silero_vad_v6_16k.safetensors"
PAGES = sorted((ROOT / "docs" / "concepts").glob("*.md"))
LAYERS = ("conv1.weight", "conv2.weight", "conv3.weight", "conv4.weight", "lstm_cell.weight_hh#f")
SHOWN = (
    "shape,alpha,vs_noise,tail_size,spikes,stable_rank,signal,bulk_null,n_ks,noise_p_value,lambda_plus,"
    "alpha_null_p_value,phase,phase_confidence,phase_nearest"
)


def tables(text: str) -> list[dict[str, str]]:
    """Return the rows of layers in a text, each with the cells by the names of their columns."""
    rows = []
    names: list[str] = []
    for line in text.splitlines():
        cells = re.split(r"\s{2,}", line.strip(" !"))
        if cells[0] == "layer":
            names = cells
        elif cells[0] in LAYERS and names:
            rows.append(dict(zip(names, cells, strict=False)))
    return rows


@pytest.fixture(scope="module")
def printed() -> dict[str, dict[str, str]]:
    """Return the cells of the table of one scan, by layer."""
    text = io.StringIO()
    analyzers = "scale,powerlaw,noise,null_alpha,phase"
    command = ["scan", str(SPEECH), "--analyzers", analyzers, "--columns", SHOWN, "--all"]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(text):
        patch.setenv("COLUMNS", "400")
        assert run(cli, command) == 0
    return {row["layer"]: row for row in tables(text.getvalue())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_what_the_table_prints(page: Path, printed: dict[str, dict[str, str]]) -> None:
    for row in tables(page.read_text(encoding="utf-8")):
        known = printed[row["layer"]]
        assert row == {name: known[name] for name in row}


def test_pages_that_show_a_table_were_found() -> None:
    shown = {page.stem for page in PAGES if tables(page.read_text(encoding="utf-8"))}
    assert shown == {"alpha", "marchenko-pastur", "noise-floor", "phases", "spectrum", "spikes"}


def test_the_log_determinant_that_is_shown_is_that_of_the_layer() -> None:
    text = (ROOT / "docs/concepts/log-determinants.md").read_text(encoding="utf-8")
    shown = re.search(r"^log-determinant +(-?[\d.]+) nats", text, re.MULTILINE)
    assert shown is not None
    assert rmtaudit.logdet(f"{SPEECH}::conv1.weight").logdet == pytest.approx(float(shown[1]), abs=1e-8)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_says_where_the_number_is_and_what_to_do(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert page.stem == "index" or "## Where you see it, what to do\n" in text
    for picture in re.findall(r"!\[.+?\]\((.+?)\)", text):
        assert (page.parent / picture).is_file()
