"""What a copied layer means: a network that is stored twice, a block, or a single layer."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

import rmtaudit
from rmtaudit.engine.scan.copies import CopyKind, copied_layers, kinds_of_copies
from rmtaudit.report.model import LayerResult


def row(name: str) -> LayerResult:
    return LayerResult(
        name=name,
        tensor=name,
        kind="dense",
        view="as stored",
        shape=(9, 9),
        dtype="float32",
        matrices=1,
        parameters=81,
        status="ok",
        reason="",
        verdict="unjudged",
        spectrum={},
        metrics={},
        findings=(),
    )


def kinds(names: list[str], copies: dict[str, str]) -> dict[str, CopyKind]:
    found = kinds_of_copies([row(n) for n in names], {names.index(k): v for k, v in copies.items()})
    return {names[index]: kind for index, kind in found.items()}


def copied(names: list[str], was: str, now: str) -> dict[str, str]:
    return {name: name.replace(now, was, 1) for name in names if now in name}


@pytest.mark.parametrize(
    ("was", "now", "kind"),
    [
        ("q_net.", "q_net_target.", CopyKind.NAMED),
        ("student.", "teacher.", CopyKind.NAMED),
        ("model.", "emaModel.", CopyKind.NAMED),
        ("encoder.", "decoder.", CopyKind.SUBNETWORK),
        ("encoder_q.", "encoder_k.", CopyKind.SUBNETWORK),
        ("towers.0.", "towers.1.", CopyKind.BLOCK),
    ],
)
def test_a_network_that_is_stored_twice(was: str, now: str, kind: CopyKind) -> None:
    names = [f"{net}layers.{place}.weight" for net in (was, now) for place in range(3)]
    copies = copied(names, was, now)
    assert kinds(names, copies) == dict.fromkeys(copies, kind)


def test_a_word_for_a_copy_excuses_no_layer_whose_counterparts_differ() -> None:
    names = [f"{net}.{place}.weight" for net in ("student", "teacher") for place in range(3)]
    assert kinds(names, {"teacher.1.weight": "student.1.weight"}) == {"teacher.1.weight": CopyKind.PARTIAL}
    assert kinds(names, {"student.1.weight": "teacher.1.weight"}) == {"student.1.weight": CopyKind.PARTIAL}
    names = [f"h.{block}.{part}.weight" for block in range(4) for part in ("q", "target", "ema")]
    assert kinds(names, {"h.2.target.weight": "h.2.q.weight"}) == {"h.2.target.weight": CopyKind.PARTIAL}
    assert kinds(names, {"h.2.target.weight": "h.1.target.weight"}) == {"h.2.target.weight": CopyKind.SINGLE}
    assert kinds(names, {"h.2.ema.weight": "h.1.q.weight"}) == {"h.2.ema.weight": CopyKind.SINGLE}
    every = {f"h.{block}.ema.weight": f"h.{block}.q.weight" for block in range(4)}
    assert kinds(names, every) == dict.fromkeys(every, CopyKind.NAMED)


def test_three_copies_of_one_network() -> None:
    """All are said to copy the one that was read first, whichever that is."""
    names = [f"{net}.{place}.weight" for net in ("q", "target_q", "ema_q") for place in range(2)]
    copies = {
        f"{net}.{place}.weight": f"target_q.{place}.weight" for net in ("q", "ema_q") for place in (0, 1)
    }
    assert kinds(names, copies) == dict.fromkeys(copies, CopyKind.NAMED)


def test_a_copy_without_a_prefix() -> None:
    names = ["fc.0.weight", "fc.1.weight", "backbone.fc.0.weight", "backbone.fc.1.weight"]
    copies = {"backbone.fc.0.weight": "fc.0.weight", "backbone.fc.1.weight": "fc.1.weight"}
    assert set(kinds(names, copies).values()) == {CopyKind.SUBNETWORK}
    back = {value: key for key, value in copies.items()}
    assert set(kinds(names, back).values()) == {CopyKind.SUBNETWORK}


def blocks(count: int) -> list[str]:
    parts = ("attn.q", "attn.k", "mlp.up", "mlp.down")
    return [f"layers.{block}.{part}.weight" for block in range(count) for part in parts]


def test_a_single_layer_of_a_stack_is_no_block() -> None:
    names = blocks(6)
    copies = {"layers.3.attn.q.weight": "layers.2.attn.q.weight"}
    assert kinds(names, copies) == dict.fromkeys(copies, CopyKind.SINGLE)


@pytest.mark.parametrize("part", ["", "mlp."])
def test_a_repeated_block_or_a_whole_part_of_it(part: str) -> None:
    names = blocks(6)
    copies = {
        name: name.replace("layers.3", "layers.2") for name in names if name.startswith(f"layers.3.{part}")
    }
    assert kinds(names, copies) == dict.fromkeys(copies, CopyKind.BLOCK)


def test_query_and_key_that_are_equal_are_single_copies() -> None:
    copies = {"layers.3.attn.k.weight": "layers.3.attn.q.weight"}
    assert kinds(blocks(6), copies) == dict.fromkeys(copies, CopyKind.SINGLE)


def test_a_partly_trained_copy_is_none() -> None:
    """One of the two layers of the copy differs: what is left is a single layer."""
    names = ["one.0.weight", "one.1.weight", "two.0.weight", "two.1.weight"]
    assert kinds(names, {"two.0.weight": "one.0.weight"}) == {"two.0.weight": CopyKind.SINGLE}


def test_layers_that_two_networks_share() -> None:
    """Both were trained from one start, and some layers were frozen."""
    names = [f"{tower}.{place}.weight" for tower in ("one", "two") for place in range(4)]
    copies = {"two.0.weight": "one.0.weight", "two.2.weight": "one.2.weight"}
    assert kinds(names, copies) == dict.fromkeys(copies, CopyKind.PARTIAL)
    copies = {f"layers.3.{part}.weight": f"layers.2.{part}.weight" for part in ("attn.q", "mlp.up")}
    assert kinds(blocks(6), copies) == dict.fromkeys(copies, CopyKind.SINGLE)


def test_a_head_that_all_layers_share() -> None:
    names = [f"class_embed.{place}.out.weight" for place in range(5)]
    copies = {after: names[0] for _, after in pairwise(names)}
    assert set(kinds(names, copies).values()) == {CopyKind.SHARED}
    assert set(kinds(names, {names[3]: names[2]}).values()) == {CopyKind.SINGLE}


def test_only_a_single_copy_is_damage() -> None:
    names = blocks(4)
    observed = copied_layers([row(n) for n in names], {5: names[1]})
    (observation,) = observed[5]
    assert (observation.code, observation.severity) == ("RA-MO-001", "error")
    assert observation.evidence == {"copy_of": names[1], "kind": "single"}


def weights(count: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(24, 24, generator=generator) for _ in range(count)]


def scanned(state: dict[str, torch.Tensor]) -> tuple[str, set[str]]:
    report = rmtaudit.scan(state, analyzers=["noise"])
    return report.verdict, {finding.severity for finding in report.findings if finding.code == "RA-MO-001"}


def test_a_target_network_is_information_and_a_copied_layer_an_error() -> None:
    net = {f"q.{place}.weight": W for place, W in enumerate(weights(3))}
    verdict, severities = scanned({**net, **{f"target_{name}": W.clone() for name, W in net.items()}})
    assert severities == {"info"}
    assert not verdict.startswith("damaged")
    verdict, severities = scanned({**net, "q.3.weight": net["q.1.weight"].clone()})
    assert severities == {"error"}
    assert verdict == "damaged (RA-MO-001)"


def test_identities_and_masks_are_equal_by_construction() -> None:
    state = {f"h.{place}.m": torch.tril(torch.ones(24, 24)) for place in range(3)}
    state |= {f"i.{place}.m": torch.eye(24) for place in range(3)}
    assert scanned(state)[1] == set()
