"""What people type, to the model, revision and file that it means."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.checkpoints.remote.addresses import HubAddress, WebAddress, address_of, named_model, shown
from rmtaudit.errors import InputError, UsageError

LETTERS = "abcXYZ019"
WORD = st.builds("{}{}".format, st.sampled_from(LETTERS), st.text(f"{LETTERS}_.-", max_size=12)).filter(
    lambda word: ".." not in word
)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("hf://org/name", HubAddress("org/name")),
        ("hf:/org/name", HubAddress("org/name")),
        ("hf://gpt2", HubAddress("gpt2")),
        ("hf://gpt2@v1/model.safetensors", HubAddress("gpt2", "v1", "model.safetensors")),
        ("hf://gpt2/model.safetensors", HubAddress("gpt2", "", "model.safetensors")),
        ("hf://org/name@v1", HubAddress("org/name", "v1")),
        ("hf://org/name@refs/pr/7/unet/x.bin", HubAddress("org/name", "refs/pr/7", "unet/x.bin")),
        ("hf://org/name@refs%2Fpr%2F7/x.bin", HubAddress("org/name", "refs/pr/7", "x.bin")),
        ("hf://org/name/unet", HubAddress("org/name", "", "unet")),
        ("https://huggingface.co/org/name", HubAddress("org/name")),
        ("https://huggingface.co/org/name/tree/main/unet", HubAddress("org/name", "main", "unet")),
        ("https://hf.co/gpt2/resolve/v1/a.bin?download=true", HubAddress("gpt2", "v1", "a.bin")),
        ("https://huggingface.co/org/name/blob/refs/pr/7/a", HubAddress("org/name", "refs/pr/7", "a")),
        ("https://host/a/m.bin?key=1", WebAddress("https://host/a/m.bin?key=1")),
        ("https://huggingface.co/datasets/org/name", WebAddress("https://huggingface.co/datasets/org/name")),
        ("model.safetensors", None),
        ("org/name", None),
        ("C:/models/x", None),
    ],
)
def test_addresses(given: str, wanted: object) -> None:
    assert address_of(given) == wanted
    assert address_of(Path(given)) == wanted  # as the command line passes it


@given(owner=WORD, name=WORD, revision=st.just("") | WORD, inside=st.lists(WORD, max_size=3))
def test_an_address_of_the_hub_survives_being_written(
    owner: str, name: str, revision: str, inside: list[str]
) -> None:
    address = HubAddress(f"{owner}/{name}", revision if revision != "refs" else "", "/".join(inside))
    if owner in {"datasets", "spaces", "buckets"} or (not inside and not address.revision and "." in name):
        return
    assert address_of(str(address)) == address


@given(
    text=st.text(max_size=60), scheme=st.sampled_from(["hf://", "https://", "http://", "hf:/", "HF://", ""])
)
def test_any_text_is_an_address_or_an_error_of_ours(text: str, scheme: str) -> None:
    try:
        address = address_of(scheme + text)
    except (InputError, UsageError):
        address = None
    assert shown(scheme + text) or not scheme + text
    assert address is None or isinstance(address, HubAddress | WebAddress)


@pytest.mark.parametrize(
    "url", ["https://user:SECRET@host:8/a/m.bin?x=SECRET#SECRET", "HTTPS://SECRET@host/m"]
)
def test_secrets_are_not_shown(url: str) -> None:
    assert "SECRET" not in shown(url)
    assert "SECRET" not in shown(Path(url))
    assert shown(url).lower().startswith("https://host")


def test_a_bare_name_is_a_model_only_where_no_path_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert named_model("org/name") == HubAddress("org/name")
    assert named_model("gpt2") == HubAddress("gpt2")
    for path in (
        "models/absent",
        "models",
        "a/b/c",
        "./org/name",
        "/org/name",
        "absent.safetensors",
        "a b/c",
    ):
        assert named_model(path) is None
