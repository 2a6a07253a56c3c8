"""The documents about origins and edits: each keeps to its schema, and the schema refuses others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.engine.claims import check_claim
from rmtaudit.engine.extraction import extract_adapter
from rmtaudit.engine.lineage.document import lineage
from rmtaudit.engine.merging import explain_merge
from rmtaudit.engine.whatif import Prune, preview
from rmtaudit.report.derivations import (
    DERIVATIONS,
    EditedLayer,
    Version,
    Whatif,
    WhatifHeader,
    WhatifSubject,
    derivation_schema,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, a fine-tune of low rank, and a model of its own."""
    folder = tmp_path_factory.mktemp("models")
    generator = torch.Generator().manual_seed(5)
    names = [f"layers.{i}.fc.weight" for i in range(2)]
    base = {name: torch.randn(48, 32, generator=generator) for name in names}
    update = {
        name: torch.randn(48, 1, generator=generator) @ torch.randn(1, 32, generator=generator)
        for name in names
    }
    tuned = {name: base[name] + 0.3 * update[name] for name in names}
    other = {name: torch.randn(48, 32, generator=generator) for name in names}
    for name, state in (("base", base), ("tuned", tuned), ("other", other)):
        save_file(state, folder / f"{name}.safetensors")
    return folder


def _lineage(folder: Path) -> dict[str, Any]:
    return lineage(folder).to_dict()


def _merge(folder: Path) -> dict[str, Any]:
    with (
        open_checkpoint(folder / "base.safetensors") as base,
        open_checkpoint(folder / "tuned.safetensors") as tuned,
    ):
        return explain_merge(tuned, base, [tuned]).document()


def _undetermined_merge(folder: Path) -> dict[str, Any]:
    with (
        open_checkpoint(folder / "base.safetensors") as base,
        open_checkpoint(folder / "tuned.safetensors") as tuned,
    ):
        return explain_merge(tuned, base, [tuned, tuned]).document()


def _claim(folder: Path) -> dict[str, Any]:
    with (
        open_checkpoint(folder / "base.safetensors") as base,
        open_checkpoint(folder / "tuned.safetensors") as tuned,
    ):
        return check_claim(base, tuned, "bf16 of BASE").document()


def _whatif(folder: Path) -> dict[str, Any]:
    with open_checkpoint(folder / "base.safetensors") as base:
        return preview(base, Prune(0.5))


def _extraction(folder: Path) -> dict[str, Any]:
    with (
        open_checkpoint(folder / "base.safetensors") as base,
        open_checkpoint(folder / "tuned.safetensors") as tuned,
    ):
        return extract_adapter(base, tuned).document("base", "tuned", "adapter")


MAKERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "lineage": _lineage,
    "merge": _merge,
    "claim": _claim,
    "whatif": _whatif,
    "extraction": _extraction,
}


def test_every_document_has_a_maker_here() -> None:
    assert set(MAKERS) == set(DERIVATIONS)


@pytest.mark.parametrize("name", MAKERS)
def test_a_document_keeps_to_its_schema(name: str, folder: Path) -> None:
    validator = jsonschema.Draft202012Validator(derivation_schema(name))
    document = MAKERS[name](folder)
    validator.validate(document)
    assert document["schema"] == {"name": f"rmtaudit.{name}", "version": "1.0"}
    assert tuple(document) == DERIVATIONS[name].__struct_fields__
    longer = {**document, "more": 1}
    newer = copy.deepcopy(document)
    newer["schema"]["version"] = "2.0"
    for wrong in (longer, newer, {key: value for key, value in document.items() if key != "schema"}):
        assert not validator.is_valid(wrong)


def test_a_merge_without_coefficients_keeps_to_the_schema(folder: Path) -> None:
    document = _undetermined_merge(folder)
    assert document["sum"] is None
    jsonschema.Draft202012Validator(derivation_schema("merge")).validate(document)


def test_a_number_that_is_not_finite_is_refused() -> None:
    row = EditedLayer(
        name="a", shape=(1, 1), parameters=1, relative_error=float("nan"), spectral_error=0.0, kept=1.0
    )
    document = Whatif(
        schema=WhatifHeader(),
        tool=Version(version="1"),
        subject=WhatifSubject(path="a", format="b"),
        edit={},
        layers=[row],
        left_out=[],
    )
    with pytest.raises(ValueError, match=r"layers\[0\].relative_error"):
        document.to_dict()
