"""The page of a scan: its structure, what it says, and that nothing of a checkpoint becomes markup."""

from __future__ import annotations

import random
from types import ModuleType

import pytest
import torch
from clock import Clock
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import Page, require_sound

from rmtaudit.kernels.spectra.spectrum import Spectrum
from rmtaudit.names import display_name
from rmtaudit.report.model import Report, failed_subject
from rmtaudit.report.page.scan import scan_page
from rmtaudit.report.page.spectra import gallery
from rmtaudit.report.plots.esd import EsdCharts, EsdCollector, esd_charts
from rmtaudit.report.writers import writer_for

ATTACKS = (
    "<script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "</svg></title><b>",
    "{{7*7}}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{x}}{% endfor %}",
    "{{ self.__init__.__globals__ }}",
    "javascript:alert(1)",
    "<!--", "]]>", "&lt;b&gt;", "--><b>",
)  # fmt: skip


def spectrum(seed: int = 0, rows: int = 60, cols: int = 40) -> Spectrum:
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


def damaged(made: ModuleType) -> Report:
    evidence = {"rank": 16, "gap": 4.1e7, "null": {"name": "plain", "p": [0.1] * 9}, "spikes": [{"r": 1.5}]}
    first = made.finding("RA-FO-001", "error", "The rank is 16 of 128.", evidence)
    layers = tuple(made.layer(f"blocks.{place}.mlp.weight", 2.0 + place / 10) for place in range(24))
    broken = made.layer("blocks.24.mlp.weight", findings=(first,), verdict="damaged (RA-FO-001)")
    report: Report = made.report((*layers, broken), verdict="damaged (RA-FO-001)")
    return report


def collected(report: Report) -> EsdCollector:
    collector = EsdCollector()
    for place, layer in enumerate(report.layers):
        collector.add(layer, spectrum(place))
    return collector


def test_the_verdict_the_coverage_and_the_findings_come_first(made: ModuleType) -> None:
    report = damaged(made)
    page = Page(scan_page([report], esd=[collected(report)]))
    require_sound(page)
    words = page.words
    order = [
        "model.safetensors",
        "damaged",
        "99.4 %",
        "The rank is 16 of 128.",
        "What to do",
        "Bars are alpha",
    ]
    places = [words.index(each) for each in order]
    assert places == sorted(places)
    assert "rank 16" in words  # the evidence
    assert "null.p 0.1000, 0.1000" in words
    assert "and 3 more" in words
    assert "sha256:00" in words  # the provenance
    assert sum(each.get("class") == "panel" for each in page.all("article")) == 25


def test_a_damaged_layer_is_told_by_its_shape_and_word_not_by_colour_alone(made: ModuleType) -> None:
    page = Page(scan_page([damaged(made)]))
    assert {"#m-bad", "#m-ok"} <= {each["href"] for each in page.all("use")}
    strip = next(each for each in page.all("svg") if each.get("class") == "strip")
    assert "1 damaged, 0 warning" in (strip["aria-label"] or "")


def test_a_saved_report_says_that_it_has_no_spectra(made: ModuleType) -> None:
    page = Page(writer_for("html")([made.report()]))
    require_sound(page)
    assert "A saved report holds no spectra" in page.words


def test_a_scan_without_spectra_says_so(made: ModuleType) -> None:
    assert "computed no spectrum" in Page(scan_page([made.report()], esd=[EsdCollector()])).words


def test_what_cannot_be_drawn_is_listed_with_the_reason(made: ModuleType) -> None:
    collector = EsdCollector()
    collector.add(made.layer("tiny.weight"), spectrum(rows=5, cols=3))
    report = made.report((made.layer("tiny.weight"),))
    assert "3 resolved eigenvalues, fewer than 8" in Page(scan_page([report], esd=[collector])).words


def test_several_subjects_are_one_page(made: ModuleType) -> None:
    lost = failed_subject("zoo/lost.bin", "RA-IN-001", "No such file.", "Check the path.")
    page = Page(scan_page([damaged(made), lost, made.report(), damaged(made)]))
    require_sound(page)
    assert "Could not be scanned No such file. Check the path. RA-IN-001" in page.words
    assert "4 checkpoints" in page.words


def test_an_empty_checkpoint_has_a_page(made: ModuleType) -> None:
    empty = made.report((made.layer("x"),))
    empty = type(empty)(**{name: getattr(empty, name) for name in empty.__struct_fields__} | {"layers": ()})
    page = Page(scan_page([empty]))
    require_sound(page)
    assert "Metrics only" in page.words


def test_the_page_is_the_same_whatever_finished_first(made: ModuleType) -> None:
    report = damaged(made)
    pages = set()
    for seed in range(3):
        collector = EsdCollector(most=10)
        order = list(enumerate(report.layers))
        random.Random(seed).shuffle(order)
        for place, layer in order:
            collector.add(layer, spectrum(place))
        pages.add(scan_page([report], esd=[collector]))
    (page,) = pages
    assert "more than 10 layers have a spectrum" in page


def test_layers_beyond_the_budget_are_said_to_be_left_out(made: ModuleType) -> None:
    report = damaged(made)
    texts = {layer.name: layer.name for layer in report.layers}
    drawn = gallery(report.layers, texts, collected(report), "s1", budget=30_000)
    assert 0 < len(drawn.panels) < 25
    assert f"{25 - len(drawn.panels)} more layers are omitted" in drawn.remark


class Copies(EsdCollector):
    """The charts of one layer for all of them, to save time."""

    def __init__(self, report: Report, charts: EsdCharts) -> None:
        super().__init__()
        self._charts = dict.fromkeys((layer.name for layer in report.layers), charts)


def test_a_model_of_300_layers_is_below_5_mb_and_drawn_in_2_s(made: ModuleType) -> None:
    report = made.report(tuple(made.layer(f"blocks.{place}.weight") for place in range(300)))
    collector = Copies(report, esd_charts(report.layers[0], spectrum(rows=600, cols=400)))
    clock = Clock()
    page = scan_page([report], esd=[collector])
    assert clock.seconds() < 2
    assert len(page.encode()) < 5_000_000
    assert page.count('<article class="panel"') == 300


def test_top_gives_the_worst_rows_alone(made: ModuleType) -> None:
    page = Page(scan_page([damaged(made)], top=3))
    require_sound(page)
    assert "22 more layers are in the JSON report." in page.words


def test_nothing_of_a_hostile_checkpoint_becomes_markup(made: ModuleType) -> None:
    plain, hostile = Page(scan_page([damaged(made)])), Page(scan_page([made.hostile_report()]))
    require_sound(hostile)
    assert hostile.tags <= plain.tags | {"label", "p"}
    assert all(text.isprintable() or text.isspace() for text in hostile.texts)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_shown_as_they_are(made: ModuleType, attack: str) -> None:
    check_harmless(made, attack)


@settings(max_examples=30, deadline=None)
@given(name=st.text(st.characters() | st.sampled_from("<>&\"'`{}%#/"), min_size=1, max_size=40))
def test_no_name_becomes_markup(made: ModuleType, name: str) -> None:
    check_harmless(made, name)


def check_harmless(made: ModuleType, name: str) -> None:
    """Hold that a name in every place of a report changes texts and nothing else of its page."""
    pages = [Page(scan_page([subject(made, each)], esd=[drawn(made, each)])) for each in ("x" * 9, name)]
    calm, hostile = pages
    assert [tag for tag, _ in calm.elements] == [tag for tag, _ in hostile.elements]
    assert [sorted(attributes) for _, attributes in calm.elements] == [
        sorted(attributes) for _, attributes in hostile.elements
    ]
    assert calm.inside == hostile.inside
    shown = " ".join(display_name(name).split())
    assert shown in hostile.words
    require_sound(hostile)


def subject(made: ModuleType, name: str) -> Report:
    found = made.finding(f"XX-{name}", "error", name, {name: name, "more": [name]})
    layers = (made.layer(name, kind=name, dtype=name, findings=(found,), verdict=f"damaged ({name})"),)
    base = made.report(layers)
    report: Report = made.report(
        layers,
        subject={**base.subject, "path": f"dir/{name}", "format": name, "warnings": [name]},
        verdict=f"damaged (XX-{name})",
    )
    return report


def drawn(made: ModuleType, name: str) -> EsdCollector:
    collector = EsdCollector()
    collector.add(made.layer(name), _SPECTRUM)
    return collector


_SPECTRUM = spectrum()
