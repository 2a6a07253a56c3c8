"""A report in a notebook: everything escaped, and not too long."""

from __future__ import annotations

from html.parser import HTMLParser
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.names import display_name
from rmtaudit.report.html import report_html

TAGS = {
    "div", "style", "b", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "span",
}  # fmt: skip
CLASSES = {"rmtaudit", "bad", "warn", "quiet", "n", "w", "bars"}


class Page(HTMLParser):
    """Collects the tags, the attributes and the texts of a page, and holds that the tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.classes: set[str] = set()
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert [name for name, _ in attrs] in ([], ["class"])
        self.classes |= {name for _, value in attrs for name in (value or "").split()}
        self.open.append(tag)
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)
            if "td" in self.open or "th" in self.open:
                self.rows[-1][-1] += data


def test_the_table_is_that_of_the_terminal(made: ModuleType) -> None:
    found = (made.finding("RA-FO-001", "error", "Rank 16 of 128.", {}),)
    report = made.report(
        (
            made.layer("a.weight", 6.5, verdict="noise-like"),
            made.layer("b.weight", 2.5, findings=found, verdict="damaged (RA-FO-001)"),
            made.without_metrics("c.weight", "failed", "unreadable: cut"),
        ),
        verdict="damaged (RA-FO-001)",
    )
    page = Page(report._repr_html_())
    head, *rows = page.rows
    assert head[1:4] == ["layer", "kind", "shape"]
    assert head[4].startswith("alpha")
    assert [row[0] for row in rows] == ["?", "✗", ""]
    assert "RA-FO-001" in rows[1][-1]
    assert "DAMAGED" in "".join(page.texts)


def test_nothing_of_a_checkpoint_becomes_markup(made: ModuleType) -> None:
    page = Page(report_html(made.hostile_report()))
    assert page.tags <= TAGS
    assert page.classes <= CLASSES
    assert all(text.isprintable() or text.isspace() for text in page.texts)


@given(name=st.text(max_size=80), reason=st.text(min_size=1, max_size=80))
def test_any_name_is_shown_as_text(made: ModuleType, name: str, reason: str) -> None:
    report = made.report((made.layer(name), made.without_metrics(name + "x", "failed", reason, kind=name)))
    page = Page(report_html(report))
    assert page.tags <= TAGS
    assert page.classes <= CLASSES
    assert any(display_name(name)[-3:] in cell for row in page.rows for cell in row)


@pytest.mark.parametrize("blocks", [0, 3, 400])
def test_it_is_short_for_any_model(made: ModuleType, blocks: int) -> None:
    rows = tuple(
        made.layer(
            f"model.layers.{block}.{role}.weight", findings=(made.finding("RA-FO-004", "warning", "m" * 900),)
        )
        for block in range(blocks)
        for role in ("attn.q", "attn.k", "mlp.up")
    )
    report = made.report(rows) if rows else made.report()
    assert len(report_html(report)) < 30_000
    assert len(report_html(made.hostile_report())) < 200_000


def test_both_grounds_have_their_colours(made: ModuleType) -> None:
    text = report_html(made.report())
    assert "prefers-color-scheme:dark" in text
    assert '[data-jp-theme-light="false"]' in text
    assert "color:#000" not in text
    assert "<script" not in text
    assert "http" not in text
