"""Names in a table: what is stripped is stated, no two rows look alike, and the number of the block stays."""

from __future__ import annotations

import random
import re
import unicodedata
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from rmtaudit.report.labels import labels_of

WIDTHS = (1, 4, 8, 12, 16, 20, 24, 32, 48)
LLAMA = [
    "model.embed_tokens.weight",
    *(
        f"model.layers.{block}.{part}_proj.weight"
        for block in range(32)
        for part in ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up")
    ),
    "lm_head.weight",
]


def test_what_most_names_share_is_stripped_and_stated() -> None:
    labels = labels_of(LLAMA)
    assert labels.rule == "model.layers.*.weight"
    assert labels.texts[0] == "model.embed_tokens.weight"  # it lacks the prefix, and is shown in full
    assert labels.texts[1] == "0.self_attn.q_proj"
    assert labels.texts[-1] == "lm_head.weight"


@pytest.mark.parametrize(
    ("names", "rule", "first"),
    [
        (["a.weight"], "", "a.weight"),
        (["layer1.0.conv1.weight", "layer1.1.conv1.weight"], "*.weight", "layer1.0.conv1"),
        (["h.0.c_attn.weight#q", "h.0.c_attn.weight#k", "h.1.mlp.weight"], "h.*.weight", "0.c_attn#q"),
        (["enc.3.weight", "dec.3.weight"], "*.weight", "enc.3"),  # the number of the block stays
        (["encoder.a", "encoder.b", "c"], "", "encoder.a"),  # a stripped `c` would look like encoder.c
        (["p.x.w", "p.y.w", "x"], "", "p.x.w"),
        (["a", "a"], "", "a"),
        ([], "", None),
    ],
)
def test_affixes(names: list[str], rule: str, first: str | None) -> None:
    labels = labels_of(names)
    assert labels.rule == rule
    assert (labels.texts[0] if names else None) == first


def test_words_without_a_number_give_way_the_most_frequent_first() -> None:
    names = [
        f"encoder.layer.{block}.{part}.weight"
        for block in range(3)
        for part in ("attention.self.query", "attention.self.key", "attention.output.dense", "output.dense")
    ]
    shown = labels_of(names).fitted(16)
    assert shown[:4] == ("0.…self.query", "0.…self.key", "0.…output.dense", "0.output.dense")


def test_names_that_print_alike_are_told_apart() -> None:
    names = ["\x1b", "\\x1b", "\\x1b (2)"]
    assert labels_of(names).texts == ("\\x1b", "\\x1b (3)", "\\x1b (2)")


def test_hostile_names_stay_distinct_at_every_width(made: ModuleType) -> None:
    names = [*made.HOSTILE, "9" * 5000, "9" * 5001, "1." * 400, "1." * 401]
    labels = labels_of(names)
    for width in (1, 12, 40):
        shown = labels.fitted(width, measure=cell_len)
        assert len(set(shown)) == len(set(names))
        assert not {c for text in shown for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs")}


def random_names(rng: random.Random) -> list[str]:
    """Return names as checkpoints have them, and some that resemble them."""
    words = ["model", "layers", "h", "attn", "mlp", "q", "qq", "proj", "weight", "w", "conv1", "a_b", "…", ""]
    prefix = rng.choice(["", "model.", "model.layers.", "net/", "a:b."])
    suffix = rng.choice(["", ".weight", "/kernel", "#q", "_w"])
    names = set()
    for _ in range(rng.randint(2, 14)):
        separator = rng.choice("../:_")
        body = [rng.choice([*words, str(rng.randint(0, 120))]) for _ in range(rng.randint(1, 5))]
        whole = rng.random() < 0.2
        names.add(separator.join(body) if whole else f"{prefix}{separator.join(body)}{suffix}")
    return sorted(names)


def test_thousands_of_sets_of_names_distinct_in_distinct_out_at_every_width() -> None:
    rng = random.Random(17)
    for _ in range(2000):
        names = random_names(rng)
        labels = labels_of(names)
        for width in rng.sample(WIDTHS, 3):
            shown = labels.fitted(width, ellipsis=rng.choice(("…", "..")))
            assert len(set(shown)) == len(names), (names, width)
            assert all(len(text) <= len(full) for text, full in zip(shown, labels.texts, strict=True))


@settings(deadline=None)
@given(st.lists(st.text(alphabet="a0.#/…\x1b\\x1b9", max_size=12), max_size=8), st.integers(1, 30))
def test_distinct_in_distinct_out(names: list[str], width: int) -> None:
    shown = labels_of(names).fitted(width)
    assert len(set(shown)) == len(set(names))
    assert all((shown[i] == shown[j]) == (names[i] == names[j]) for i in range(len(names)) for j in range(i))


@settings(deadline=None)
@given(
    st.sets(st.tuples(st.integers(0, 999), st.sampled_from("qkvo"), st.booleans()), min_size=2, max_size=9),
    st.integers(1, 40),
)
def test_the_number_of_the_block_always_stays(parts: set[tuple[int, str, bool]], width: int) -> None:
    rows = sorted(parts)
    names = [f"model.layers.{n}.self_attention.{p}_projection{'.lora' * lora}.weight" for n, p, lora in rows]
    for (number, _, _), text in zip(rows, labels_of(names).fitted(width), strict=True):
        assert str(number) in re.findall(r"\d+", text)


def test_a_large_model_is_shortened_at_once() -> None:
    """Three thousand names, as a mixture of experts has them."""
    names = [
        f"model.layers.{block}.mlp.experts.{expert}.{part}_proj.weight"
        for block in range(32)
        for expert in range(32)
        for part in ("gate", "up", "down")
    ]
    shown = labels_of(names).fitted(14)
    assert len(set(shown)) == len(names)
    assert max(map(len, shown)) <= 18
