from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from rmtaudit.engine.gate.model_files import file_digests, file_stamps, require_unsigned
from rmtaudit.errors import ChangedError, InputError, OutputError


def test_a_file_is_named_by_its_digest(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"weights")
    digests = file_digests(model, file_stamps(model))
    assert digests == {"model.safetensors": hashlib.sha256(b"weights").hexdigest()}


def test_a_folder_is_named_by_its_weights(tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.safetensors", "README.md", "tokenizer.model", "optimizer.pt"):
        (tmp_path / name).write_bytes(name.encode())
    assert sorted(file_digests(tmp_path, file_stamps(tmp_path))) == ["a.safetensors", "b.safetensors"]


def test_what_is_no_file_has_no_digests(tmp_path: Path) -> None:
    assert file_stamps(Path("hf://owner/name")) == {}
    assert file_digests(tmp_path / "absent", {}) == {}


def test_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"weights")
    stamps = file_stamps(model)
    model.write_bytes(b"other weights")
    with pytest.raises(ChangedError) as changed:
        file_digests(model, stamps)
    assert changed.value.code == "RA-IN-007"
    model.unlink()
    with pytest.raises(InputError) as gone:
        file_digests(model, stamps)
    assert gone.value.code == "RA-IN-001"


@pytest.mark.parametrize(
    "signature", ["model.sig", "weights.safetensors.sig", "model.sigstore.json", "a.bundle"]
)
def test_nothing_is_added_to_a_signed_folder(tmp_path: Path, signature: str) -> None:
    (tmp_path / signature).touch()
    with pytest.raises(OutputError) as refused:
        require_unsigned(tmp_path / "gate.intoto.jsonl")
    assert refused.value.code == "RA-OU-007"
    assert signature in refused.value.message


def test_a_signature_of_a_model_covers_the_folders_in_it(tmp_path: Path) -> None:
    inner = tmp_path / "model" / "onnx"
    inner.mkdir(parents=True)
    (tmp_path / "other.sig").touch()  # of a file there, and not of what lies below
    require_unsigned(inner / "gate.intoto.jsonl")
    (tmp_path / "model" / "model.sig").touch()
    with pytest.raises(OutputError):
        require_unsigned(inner / "gate.intoto.jsonl")
    require_unsigned(tmp_path.parent / "gate.intoto.jsonl")
