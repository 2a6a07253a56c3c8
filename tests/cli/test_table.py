"""The table: never wider than the terminal, no control characters, colour where it means something."""

from __future__ import annotations

import io
import re
import unicodedata
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console

from rmtaudit.cli import table
from rmtaudit.cli.table import elide, table_text
from rmtaudit.report.document import dumps
from rmtaudit.report.model import Report
from rmtaudit.report.parsing import loads


def test_layers_that_were_left_out_have_no_row_unless_all_are_asked_for(made: ModuleType) -> None:
    rows = (
        *(made.layer(f"layers.{block}.up.weight") for block in range(5)),
        *(
            made.without_metrics(f"layers.{block}.down.weight", "skipped", "excluded: matches 'x' of exclude")
            for block in range(20)
        ),
    )
    report = made.report(rows)
    short = table_text([report], top=None)
    assert "down" not in short
    assert "15 more" not in short
    assert "down" in table_text([report], top=0)
    assert "down" not in table_text([made.report(rows[5:])], top=None)


def lines(text: str) -> list[str]:
    return text.split("\n")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 300])
def test_no_line_is_wider_than_the_terminal(
    made: ModuleType, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for report in (made.report(), made.hostile_report()):
        text = table_text([report], top=0)
        assert max(cell_len(line) for line in lines(text)) <= width
        rows = [line for line in lines(text) if "384×1536" in line or width < 120]
        assert len(rows) >= len(report.layers)


def test_narrow_tables_show_fewer_metrics_and_wide_ones_all(
    made: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heads(width: str) -> str:
        monkeypatch.setenv("COLUMNS", width)
        return next(line for line in lines(table_text([made.report()], top=0)) if "  layer " in line)

    assert "alpha [low–high]" in heads("80")
    assert "log10_spectral_norm" not in heads("80")
    every = [  # the heads are the keys that --sort and --columns take
        "layer", "kind", "shape", "alpha [low–high]", "xmin", "ks_distance", "tail_size", "stable_rank",
        "log10_spectral_norm", "finding",
    ]  # fmt: skip
    assert re.split(r"\s{2,}", heads("120").strip()) == [
        head for head in every if head not in ("kind", "stable_rank", "log10_spectral_norm")
    ]
    assert "nonfinite: 3 values" not in table_text([made.report()], top=0)
    assert re.split(r"\s{2,}", heads("220").strip()) == every
    assert "failed: nonfinite: 3 values are not finite" in table_text([made.report()], top=0)


def test_off_a_terminal_the_width_is_that_of_columns_or_160(
    made: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value, width in ((None, 160), ("", 160), ("abc", 160), ("²", 160), ("100", 100), ("1", 40)):
        monkeypatch.delenv("COLUMNS", raising=False)
        if value is not None:
            monkeypatch.setenv("COLUMNS", value)
        longest = max(cell_len(line) for line in lines(table_text([made.hostile_report()], top=0)))
        assert width - 10 < longest <= width


def test_metrics_without_room_are_named(made: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    report = made.report()
    chosen = [name for name in report.tool["columns"] if name in report.metrics]

    def named(width: str) -> tuple[str, str]:
        """Return the line of heads, and what stands after the label up to the next one."""
        monkeypatch.setenv("COLUMNS", width)
        text = table_text([report], top=0)
        heads = next(line for line in lines(text) if line.lstrip().startswith("layer "))
        return heads, text.partition("no room for")[2].partition("summary")[0]

    heads, missing = named("60")
    assert missing
    for name in chosen:
        assert (name in heads) != (name in missing), name
    assert named("300")[1] == ""


def test_hostile_names_are_shown_and_obeyed_by_nobody(made: ModuleType) -> None:
    text = table_text([made.hostile_report()], top=0)
    bad = {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert not bad
    assert not re.search(r"^::", text, re.MULTILINE)
    assert r"\x1b[31mred\x1b[0m.weight" in text
    assert "[red]markup[/red].weight" in text
    assert r":smile: [/] \[x]" in text
    assert "名前.weight" in text


def test_rows_are_worst_first_and_cut_at_top(made: ModuleType) -> None:
    text = table_text([made.report()], top=2)
    rows = r"^[? ]  (?:encoder\.layer\.)?(\d+)\S*  "
    assert "layer = encoder.layer.*.weight" in text
    assert re.findall(rows, text, re.MULTILINE) == ["4", "2"]
    assert "… 4 more without a warning or an error: --all shows all" in text
    everything = table_text([made.report()], top=0)
    assert re.findall(rows, everything, re.MULTILINE) == ["4", "2", "10", "0", "3", "5"]
    assert "more without" not in everything


def test_what_is_said_beside_the_rows(made: ModuleType) -> None:
    text = table_text([made.report()], top=0)
    for sentence in (
        "model.safetensors",
        "safetensors · 101 tensors · 22.7 M parameters · float32",
        "worst layers first: alpha, highest first",
        "mean alpha 5.167 over 3 layers · 1 failed · 1 skipped",
        "99.4 % of 22.7 M parameters in 4 layers",
        "1 quantised · 1 vector (bias, norm, statistic)",
        "preset default · scale, powerlaw · seed 0 · cpu",
        "These are metrics, not a verdict",
    ):
        assert sentence in text
    assert "stopped" not in text
    assert "stopped before the end" in table_text([made.report(complete=False)], top=0)


def test_the_column_of_findings_is_there_only_if_needed(made: ModuleType) -> None:
    healthy = made.report((made.layer("a"), made.layer("b")))
    assert "finding" not in table_text([healthy], top=0)
    assert re.search(r"finding *$", table_text([made.report()], top=0), re.MULTILINE)


def test_a_report_without_rows_has_no_table(made: ModuleType) -> None:
    base = made.report()
    empty = replace(base, layers=(), summary={}, metrics={})
    text = table_text([empty], top=0)
    assert "kind" not in text
    assert "coverage" in text


def test_findings_stand_below_with_the_worst_first(made: ModuleType) -> None:
    text = table_text([made.hostile_report()], top=0)
    found = re.findall(r"^(error|warning|info) +", text, re.MULTILINE)
    assert found == sorted(found, key=["error", "warning", "info"].index)
    assert 2 <= len(found) <= 10
    assert "for information: see --format json" in text


def test_findings_beyond_the_tenth_are_counted(made: ModuleType) -> None:
    findings = tuple(made.finding(f"XY-{number}", "error", "Something.") for number in range(12))
    text = table_text([made.report((made.layer("a", findings=findings),))], top=0)
    assert len(re.findall(r"^error +", text, re.MULTILINE)) == 10
    assert "2 more: see --format json" in text


def test_a_cause_takes_one_line(made: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    dead = (made.finding("RA-FO-005", "warning", "The layer has 9 dead rows."),)
    rows = tuple(made.layer(f"block.{place}.w", findings=dead) for place in range(41))
    text = table_text([made.report(rows)], top=0)
    assert len(re.findall(r"^warning +", text, re.MULTILINE)) == 1
    assert "dead rows or columns in 41 layers (block.0.w, block.1.w, block.2.w and 38 more)" in text


def test_colour_is_for_what_failed(made: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def printed(**environ: str) -> str:
        for key in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(key, raising=False)
        for key, value in environ.items():
            monkeypatch.setenv(key, value)
        text = io.StringIO()
        console = Console(file=text, force_terminal=True, width=100, color_system="standard")
        table.draw_report(console, made.report(), 0)
        return text.getvalue()

    coloured = [line for line in printed().splitlines() if "\x1b[31m" in line]
    assert len(coloured) == 1
    assert "failed: nonfinite" in coloured[0]
    assert "\x1b[31m" not in printed(NO_COLOR="1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in table_text([made.report()], top=0)


def llama(made: ModuleType, blocks: int = 32) -> Report:
    """Return a report of a model of repeated blocks with a few injuries, and a signal."""
    injured = {
        (14, "self_attn.o"): ("RA-FO-001", "error", "rank.", {"rank": 16, "possible": 128}),
        (9, "mlp.up"): ("RA-MO-001", "error", "copy.", {"copy_of": "model.layers.8.mlp.up_proj.weight"}),
        (5, "mlp.down"): ("RA-FO-002", "warning", "grid.", {"bits": 3}),
    }
    rows = [made.layer("model.embed_tokens.weight", 4.0, verdict="structured")]
    for block in range(blocks):
        for place, part in enumerate(("self_attn.q", "self_attn.o", "mlp.up", "mlp.down")):
            alpha = 2.0 + place + block / 32
            metrics = {
                "alpha": made.metric(alpha, se=0.2, ci=(alpha - 0.4, alpha + 0.6)),
                "alpha_null": made.metric(6.0),
            }
            found = injured.get((block, part))
            rows.append(
                made.layer(
                    f"model.layers.{block}.{part}_proj.weight",
                    metrics=metrics,
                    verdict="structured",
                    findings=(made.finding(*found),) if found else (),
                )
            )
    report: Report = made.report(tuple(rows), verdict="structured")
    return report


def test_what_needs_a_look_comes_first_then_a_strip_for_each_role(made: ModuleType) -> None:
    text = table_text([llama(made)], top=None)
    assert lines(text)[0] == "models/model.safetensors  DAMAGED, structured"
    assert text.index("integrity ") < text.index("coverage ") < text.index("layer = model.layers.*.weight")
    shown = re.findall(r"^([✗!?])  (\S+) .* {2}(\S.*)$", text, re.MULTILINE)
    assert [(mark, name, finding.rstrip()) for mark, name, finding in shown] == [
        ("✗", "9.mlp.up_proj", "copy of 8.mlp.up_proj RA-MO-001"),
        ("✗", "14.self_attn.o_proj", "rank 16 of 128 RA-FO-001"),
        ("!", "5.mlp.down_proj", "3-bit grid RA-FO-002"),
    ]
    assert "… 125 more without a warning or an error: --all shows all" in text
    strips = re.findall(r"^(\S+_proj) +([▁▂▃▄▅▆▇█✗!]{32})  (\S+)  +(\S+)  (\S+)$", text, re.MULTILINE)
    assert [strip[0] for strip in strips] == [
        "self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj",
    ]  # fmt: skip
    assert [strip[1].index(mark) for strip, mark in zip(strips[1:], "✗✗!", strict=True)] == [14, 9, 5]
    assert strips[0][2:] == ("2.00", "2.48", "2.97")
    assert strips[0][1] == "".join(sorted(strips[0][1]))  # alpha grows with the depth
    assert "vs_noise along the depth, block 0 → 31: ▁ 0.33 to █ 0.99" in text
    assert "3.00 [2.60–3.60]" not in text
    assert "[low–high]: interval that includes the uncertainty in xmin" in text


@pytest.mark.parametrize("width", [40, 80, 100, 120, 160])
def test_no_two_rows_can_be_confused_and_no_line_is_too_wide(
    made: ModuleType, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    report = llama(made)
    assert max(map(cell_len, lines(table_text([report], top=None)))) <= width
    text = table_text([report], top=0)
    assert max(map(cell_len, lines(text))) <= width
    names = re.findall(r"^[✗! ]  (\d+\.\S+)", text, re.MULTILINE)
    assert len(set(names)) == len(names) == 128


def test_a_deep_model_shares_signs(made: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = table_text([llama(made, blocks=126)], top=None)
    assert max(map(cell_len, lines(text))) <= 80
    (shared,) = re.findall(r"up to (\d) blocks a sign", text.replace("\n", " "))
    (strip,) = re.findall(r"^self_attn.o_proj +(\S+)", text, re.MULTILINE)
    assert len(strip) == -(-126 // int(shared))
    assert strip.index("✗") == 14 // int(shared)


def test_the_first_rows_alone_are_a_list(made: ModuleType) -> None:
    text = table_text([llama(made)], top=2)
    assert "along the depth" not in text
    assert "… 1 more with RA-FO-002 (quantisation grid)\n… 126 more without a warning" in text


def test_rows_by_name(made: ModuleType) -> None:
    report = llama(made)
    text = table_text([replace(report, tool={**report.tool, "sort": "layer"})], top=0)
    names = re.findall(r"^[✗! ]  (\S+proj)", text, re.MULTILINE)
    assert names[3:8] == [
        "0.mlp.down_proj",
        "0.mlp.up_proj",
        "0.self_attn.o_proj",
        "0.self_attn.q_proj",
        "1.mlp.down_proj",
    ]
    assert "noise-like or initial, then by name" in " ".join(text.split())


def test_an_ascii_terminal_tells_apart_what_only_unicode_does(made: ModuleType) -> None:
    rows = tuple(made.layer(name) for name in ("a…b", "a..b", "a\\u2026b"))
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    table.draw_report(Console(file=file, width=100), made.report(rows), 0)
    file.flush()
    names = re.findall(r"^   (a\S+(?: \(2\))?)  ", raw.getvalue().decode(), re.MULTILINE)
    assert sorted(names) == ["a..b", "a\\u2026b", "a\\u2026b (2)"]


def test_many_rows_with_one_finding_are_counted(made: ModuleType) -> None:
    dead = (made.finding("RA-FO-005", "warning", "dead.", {"dead_rows": 9, "dead_columns": 0}),)
    text = table_text(
        [made.report(tuple(made.layer(f"b.{n}.w", findings=dead) for n in range(41)))], top=None
    )
    assert len(re.findall(r"9 dead rows RA-FO-005", text)) == 3
    assert "… 38 more with RA-FO-005 (dead rows or columns): --all shows all" in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_terminal_gets_the_characters_that_it_has(made: ModuleType, encoding: str) -> None:
    for report in (llama(made), made.hostile_report()):
        for top in (None, 0):
            raw = io.BytesIO()
            file = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
            table.draw_report(Console(file=file, width=100, highlight=False), report, top)
            file.flush()
            text = raw.getvalue().decode(encoding)
            assert max(map(cell_len, lines(text))) <= 100
            assert ("✗" in text) == (encoding == "utf-8" and "DAMAGED" in text)
            assert encoding == "utf-8" or text.isascii()
    assert encoding == "utf-8" or "\\u540d\\u524d.weight" in text


def test_a_dumb_terminal_gets_no_escapes(made: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in (("TERM", "dumb"), ("NO_COLOR", "1")):
        with monkeypatch.context() as patch:
            patch.delenv("FORCE_COLOR", raising=False)
            patch.setenv(variable, value)
            text = io.StringIO()
            table.draw_report(Console(file=text, force_terminal=True, width=80), llama(made), None)
            assert "\x1b[3" not in text.getvalue()
            assert "✗" in text.getvalue()


def test_old_documents_look_the_same(made: ModuleType) -> None:
    """Neither ``vs_noise`` nor the words of 1.1 are needed; ``alpha ± se`` is not shown."""
    new = llama(made)
    document = new.to_dict()
    document["schema"]["version"] = "1.0"
    for part in (document, *document["layers"]):
        for key in ("integrity", "signal", "judgement", "skip", "encoding", "causes", "detail"):
            part.pop(key, None)
    (old,) = loads(dumps(document))
    assert isinstance(old, Report)
    shown, expected = table_text([old], top=None), table_text([new], top=None)
    assert "not recorded" not in shown
    assert lines(shown)[0] == lines(expected)[0]
    assert "±" not in shown
    assert lines(shown)[10:] == lines(expected)[10:]


@given(st.text(max_size=30), st.integers(1, 30), st.booleans())
def test_elided_texts_fit_and_keep_their_ends(text: str, width: int, keep_end: bool) -> None:
    shown = elide(text, width, keep_end=keep_end)
    assert cell_len(shown) <= width
    if shown == text:
        return
    head, _, tail = shown.partition("…") if "…" not in text else (shown, "", "")
    assert "…" in shown
    if "…" not in text:
        assert text.startswith(head)
        assert text.endswith(tail)
