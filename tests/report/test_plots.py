"""Plots: what is drawn, and that an SVG can be trusted on a page with others."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
import torch

from rmtaudit.errors import OutputError, UsageError
from rmtaudit.kernels.spectra.spectrum import Spectrum
from rmtaudit.report.model import LayerResult, MetricResult
from rmtaudit.report.plots import PlotFolder
from rmtaudit.report.plots.folder import DEPTH, PlotFormat, slug


def spectrum(rows: int = 90, cols: int = 60, *, seed: int = 0) -> Spectrum:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, cols, generator=generator, dtype=torch.float64)
    return Spectrum(
        eigenvalues=torch.linalg.eigvalsh(matrix.T @ matrix),
        rows=rows,
        cols=cols,
        method="exact",
        floor=0.0,
        unresolved=0,
    )


def row(made: ModuleType, name: str, **metrics: MetricResult) -> LayerResult:
    layer: LayerResult = made.layer(name, shape=(90, 60), metrics=metrics)
    return layer


def with_tail(made: ModuleType, name: str) -> LayerResult:
    return row(
        made,
        name,
        alpha=made.metric(3.25, se=0.5),
        xmin=made.metric(120.0),
        tail_size=made.metric(20),
        phase=made.metric("bulk+spikes"),
    )


def texts(path: Path) -> list[str]:
    root = ElementTree.parse(path).getroot()
    return ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text")]


def test_a_layer_is_drawn_with_what_was_fitted_to_it(tmp_path: Path, made: ModuleType) -> None:
    PlotFolder(tmp_path).draw_layer(with_tail(made, "fc.weight"), spectrum())
    name = slug("fc.weight")
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.svg"]
    words = texts(tmp_path / f"{name}.svg")
    assert any("fc.weight" in text and "90 x 60" in text and "bulk+spikes" in text for text in words)
    assert "power law, alpha = 3.25 ± 0.50" in words
    assert any(text.startswith("Marchenko-Pastur, N x KS = ") for text in words)
    assert words.count("eigenvalue of WᵀW (w²)") == 4
    assert (tmp_path / f"{name}.svg").stat().st_size < 40_000


@pytest.mark.parametrize("form", PlotFormat)
def test_the_formats_that_were_asked_for_are_written(
    tmp_path: Path, made: ModuleType, form: PlotFormat
) -> None:
    pytest.importorskip("matplotlib")
    folder = PlotFolder(tmp_path, form=form)
    layer = with_tail(made, "fc.weight")
    folder.draw_layer(layer, spectrum())
    folder.finish(made.report(layers=(layer,)))
    wanted = {".svg", ".png"} if form is PlotFormat.BOTH else {f".{form.value}"}
    assert {path.suffix for path in tmp_path.iterdir()} == wanted | {".html"}
    for path in tmp_path.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_index_shows_every_figure_and_what_is_missing(tmp_path: Path, made: ModuleType) -> None:
    folder = PlotFolder(tmp_path, "<b>model</b>")
    names = ["<script>alert(1)</script>", "b.weight", "small"]
    for name in names[:2]:
        folder.draw_layer(with_tail(made, name), spectrum())
    folder.draw_layer(row(made, "small"), spectrum(20, 7))
    folder.finish(made.report(layers=tuple(with_tail(made, name) for name in names)))
    page = (tmp_path / "index.html").read_text()
    assert "<script" not in page
    assert "<b>" not in page
    assert set(re.findall(r'src="([^"]+)"', page)) == {path.name for path in tmp_path.glob("*.svg")}
    assert "b.weight" in page
    assert "<li>small: 7 resolved eigenvalues, fewer than 8</li>" in page


def test_the_law_of_kappa_is_drawn(tmp_path: Path, made: ModuleType) -> None:
    PlotFolder(tmp_path).draw_layer(row(made, "a", kappa_full=made.metric(57.0, se=9.0)), spectrum())
    assert "HTMP, kappa = 57" in texts(tmp_path / f"{slug('a')}.svg")


def test_without_a_fit_no_law_is_drawn(tmp_path: Path, made: ModuleType) -> None:
    pooled = dataclasses.replace(spectrum(), parts=(spectrum(), spectrum()))
    failed = row(made, "a", alpha=made.metric(None, status="failed", reason="none"))
    PlotFolder(tmp_path).draw_layer(failed, pooled)
    words = texts(tmp_path / f"{slug('a')}.svg")
    assert "no single matrix" in words
    assert not any("power law" in text or text.startswith("Marchenko-Pastur") for text in words)


def test_the_bytes_are_the_same_again_whatever_the_users_settings(tmp_path: Path, made: ModuleType) -> None:
    mpl = pytest.importorskip("matplotlib")
    drawn = []
    for folder, size in (("one", 10.0), ("two", 30.0)):
        with mpl.rc_context({"font.size": size, "svg.fonttype": "path"}):
            PlotFolder(tmp_path / folder, "model", PlotFormat.BOTH).draw_layer(
                with_tail(made, "fc.weight"), spectrum()
            )
            assert mpl.rcParams["font.size"] == size
        drawn.append({path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()})
    assert drawn[0] == drawn[1]


def test_svgs_can_stand_on_one_page(tmp_path: Path, made: ModuleType) -> None:
    found: list[str] = []
    for subject in ("one", "two"):
        folder = PlotFolder(tmp_path / subject, subject)
        for name in ("a", "b"):
            folder.draw_layer(row(made, name), spectrum())
        folder.finish(made.report(layers=(made.layer("a"), made.layer("b"))))
        for path in (tmp_path / subject).glob("*.svg"):
            text = path.read_text(encoding="utf-8")
            assert text.startswith("<svg ")
            assert not re.findall(r"https?://(?!www\.w3\.org/(?:2000/svg|1999/xlink))[^\"]*", text)
            assert "<script" not in text
            root = ElementTree.fromstring(text)
            ids = [element.get("id") for element in root.iter() if element.get("id")]
            referred = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text))
            assert {one or other for one, other in referred} <= set(ids)
            assert "<style" not in text  # it would reach the other figures
            found += [str(value) for value in ids]
    assert len(found) == len(set(found))


def test_hostile_names_are_one_safe_file_name_each(tmp_path: Path, made: ModuleType) -> None:
    names = [*made.HOSTILE, "../../etc/passwd", "..", "CON", "con", "a/b", "a_b", "$x$", "a\\b", "é"]
    slugs = [slug(name) for name in names]
    assert len({one.lower() for one in slugs}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,95}", one) for one in slugs)
    folder = PlotFolder(tmp_path)
    for name in ("<script>alert(1)</script>&$\\frac$", 'id="x" url(#y) --> 名前', "lone\udc80"):
        folder.draw_layer(row(made, name), spectrum())
        ElementTree.parse(tmp_path / f"{slug(name)}.svg")
    assert any(
        "$\\frac$" in text
        for text in texts(tmp_path / f"{slug('<script>alert(1)</script>&$' + chr(92) + 'frac$')}.svg")
    )


def test_what_cannot_be_drawn_is_listed(tmp_path: Path, made: ModuleType) -> None:
    folder = PlotFolder(tmp_path)
    folder.draw_layer(row(made, "small"), spectrum(20, 7))
    ones = torch.ones(30, dtype=torch.float64)
    folder.draw_layer(
        row(made, "equal"),
        Spectrum(eigenvalues=ones, rows=30, cols=30, method="exact", floor=0.0, unresolved=0),
    )
    assert folder.left_out == {
        "small": "7 resolved eigenvalues, fewer than 8",
        "equal": "the eigenvalues are all equal",
    }
    assert not list(tmp_path.iterdir())


def test_a_layer_of_low_rank_is_drawn_without_its_zeros(tmp_path: Path, made: ModuleType) -> None:
    values = spectrum(90, 60).eigenvalues.clone()
    values[:45] = 0
    PlotFolder(tmp_path).draw_layer(
        row(made, "low"),
        Spectrum(eigenvalues=values, rows=90, cols=60, method="exact", floor=1e-9, unresolved=45),
    )
    assert "no bulk: half of the eigenvalues are 0" in texts(tmp_path / f"{slug('low')}.svg")


def test_the_depth_shows_what_the_report_has(tmp_path: Path, made: ModuleType) -> None:
    layers = tuple(
        row(
            made,
            f"{index}",
            alpha=made.metric(2.0 + index, se=0.1),
            kappa_full=made.metric(10.0**index),
            phase=made.metric(phase),
        )
        for index, phase in enumerate(("random-like", "bulk-decay", "undecided"))
    )
    PlotFolder(tmp_path / "all").finish(made.report(layers=layers))
    words = texts(tmp_path / "all" / f"{DEPTH}.svg")
    assert {"alpha", "kappa, all eigenvalues", "phase", "random-like", "undecided"} <= set(words)
    assert "kappa, bulk" not in words
    PlotFolder(tmp_path / "none").finish(made.report(layers=(row(made, "a"),)))
    assert not list((tmp_path / "none").iterdir())


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else name)
    with pytest.raises(UsageError, match="matplotlib") as caught:
        PlotFolder(tmp_path, form=PlotFormat.PNG)
    assert caught.value.code == "RA-US-303"
    assert "rmtaudit[plots]" in caught.value.hint


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, made: ModuleType) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as caught:
        PlotFolder(tmp_path / "file" / "below")
    assert caught.value.code == "RA-OU-004"
    folder = PlotFolder(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    folder.draw_layer(row(made, "a"), spectrum())
    with pytest.raises(OutputError, match="cannot be written"):
        folder.finish(made.report(layers=(made.layer("a"),)))


def test_the_package_is_imported_without_matplotlib() -> None:
    import subprocess

    code = (
        "import sys, rmtaudit.report.plots; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
