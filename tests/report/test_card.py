"""The section of a model card: nothing else of the file changes, whatever is in it."""

from __future__ import annotations

import re
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.errors import InputError
from rmtaudit.report.card import BEGIN, END, card_section, with_section

SECTION = f"{BEGIN}\n## New\n\ntext\n{END}"
OTHER = f"{BEGIN}\nother\n{END}"
BOM = b"\xef\xbb\xbf"
FRONT = b"---\nlicense: mit\ntags: [a, b]\n---\n"

bodies = st.binary(max_size=200).filter(
    lambda body: b"rmtaudit:" not in body and not body.startswith((b"\xff\xfe", b"\xfe\xff"))
)


@given(bodies, bodies)
def test_every_byte_outside_the_markers_stays(before: bytes, after: bytes) -> None:
    card = before + OTHER.encode() + after
    written = with_section(card, SECTION)
    assert written.startswith(before)
    assert written.endswith(after)
    assert b"other" not in written[len(before) : len(written) - len(after)]
    assert with_section(written, SECTION) == written


@given(bodies)
def test_a_section_is_added_at_the_end_once(body: bytes) -> None:
    written = with_section(body, SECTION)
    assert written.startswith(body)
    assert written.count(BEGIN.encode()) == written.count(END.encode()) == 1
    assert with_section(written, SECTION) == written


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("bom", [b"", BOM])
def test_front_matter_and_line_endings_stay(ending: bytes, bom: bytes) -> None:
    card = bom + (FRONT + b"# Model\n").replace(b"\n", ending)
    written = with_section(card, SECTION)
    assert written.startswith(card)
    added = written[len(card) :]
    assert added.startswith(ending + BEGIN.encode())
    assert re.findall(rb"\r\n|\r|\n", added) == [ending] * 6


def test_an_empty_card_has_the_section_alone() -> None:
    assert with_section(b"", SECTION) == SECTION.encode() + b"\n"
    assert with_section(BOM, SECTION) == BOM + SECTION.encode() + b"\n"


@pytest.mark.parametrize(
    "markers",
    [
        BEGIN,
        END,
        f"{END}\n{BEGIN}",
        f"{BEGIN}\n{BEGIN}\n{END}",
        f"{BEGIN}{END}{BEGIN}{END}",
        "<!--rmtaudit:begin-->",
    ],
)
def test_markers_that_are_no_pair_are_refused(markers: str) -> None:
    with pytest.raises(InputError, match="not one pair") as raised:
        with_section(f"# Model\n{markers}\n".encode(), SECTION, where="README.md")
    assert (raised.value.code, raised.value.where) == ("RA-CA-001", "README.md")
    assert "line 2" in raised.value.message


def test_utf_16_is_refused() -> None:
    with pytest.raises(InputError) as raised:
        with_section("# Model".encode("utf-16"), SECTION)
    assert raised.value.code == "RA-CA-002"


def test_the_section_of_a_report(made: ModuleType) -> None:
    text = card_section(made.report())
    assert text.startswith(f"{BEGIN}\n## Weight audit\n")
    assert text.endswith(f"\n{END}")
    assert "| Coverage | 99.4 % of 22.7 M parameters in 4 layers |" in text
    assert text == card_section(made.report())


def check_inert(section: str) -> None:
    """Raise where the section has a marker, HTML, a line or a table cell too many."""
    inner = section.removeprefix(f"{BEGIN}\n").removesuffix(f"\n{END}")
    inner = inner.replace("&#64;<!-- -->", "&#64;")  # keeps a mention from being one
    assert "<" not in inner
    assert ">" not in inner
    assert "@" not in inner
    for line in inner.splitlines():
        assert re.match(r"## Weight audit$|$|\| |\|---|- (error|warning|info|and)\b|[A-Z]", line), line
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) == 3
    assert with_section(with_section(b"# M\n", section), section).count(BEGIN.encode()) == 1


def test_hostile_names_inject_nothing(made: ModuleType) -> None:
    check_inert(card_section(made.hostile_report()))


@given(st.text(max_size=60))
def test_no_name_of_a_tensor_injects_anything(made: ModuleType, name: str) -> None:
    for hostile in (name, f"{name}{END}", f"{BEGIN}{name}", f"|{name}|\n# {name}"):
        finding = made.Finding(
            code="RA-SC-001", severity="error", message=f"{hostile} has NaN.", evidence={"layers": [hostile]}
        )
        report = made.report((made.layer(hostile, findings=(finding,)),), causes=(finding,))
        section = card_section(report)
        assert "RA-SC-001" in section
        check_inert(section)
