"""What people type for a model that is elsewhere: ``hf://org/name@revision/file``, and URLs."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rmtaudit.errors import InputError, UsageError
from rmtaudit.names import display_name

HUB = "https://huggingface.co"
"""The Hub, where ``HF_ENDPOINT`` does not name another."""

_HUB_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
_URL = re.compile(r"([a-z][a-z0-9+.-]{0,15}):/+(.*)", re.DOTALL | re.IGNORECASE)
_PARTS = re.compile(r"(\w+)://([^/?#]*)([^?#]*)")
_NAME = r"[A-Za-z0-9][\w.-]{0,95}"
_REPOSITORY = re.compile(rf"{_NAME}(?:/{_NAME})?", re.ASCII)
_REVISION = re.compile(r"[\w./+-]{1,255}", re.ASCII)
_OTHER_KINDS = frozenset({"datasets", "spaces", "buckets"})

FILE_ENDINGS = frozenset(
    (".safetensors", ".bin", ".pt", ".pth", ".th", ".ckpt", ".pkl", ".pickle", ".json", ".gguf", ".onnx",
     ".h5", ".hdf5", ".keras", ".npz", ".npy", ".pb", ".tflite", ".zip", ".tar", ".msgpack", ".pt2", ".xml")
)  # fmt: skip
"""Endings of files that nobody gives to the name of a model."""


@dataclass(frozen=True, slots=True)
class HubAddress:
    """A model of the Hub, or a file or folder in it.

    Attributes
    ----------
    repository
        ``org/name``, or ``name`` for the oldest models.
    revision
        A branch, a tag, a reference or a commit; ``""`` for the main branch.
    inside
        The path within the model; ``""`` for the whole of it.
    """

    repository: str
    revision: str = ""
    inside: str = ""

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf://{self.repository}{revision}{f'/{self.inside}' if self.inside else ''}"


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A file behind a URL. As text it has neither its query nor its user: they may be secrets.

    Attributes
    ----------
    url
        The whole URL, which is requested and never shown.
    """

    url: str

    def __str__(self) -> str:
        match = _PARTS.match(self.url)
        return f"{match[1].lower()}://{match[2].rpartition('@')[2]}{match[3]}" if match else "a URL"


def as_given(path: str | Path) -> str:
    """Return a path as text; of a URL, with the slashes that :class:`pathlib.Path` has taken out."""
    text = os.fspath(path)
    if text in {"hf:", "http:", "https:"}:
        return f"{text}//"
    url = _URL.fullmatch(text.replace("\\", "/") if os.name == "nt" else text)
    return f"{url[1]}://{url[2]}" if url and len(url[1]) > 1 else text  # C:/folder is a path of Windows


def is_remote(text: str) -> bool:
    """Whether a text begins as the address of a model of the Hub or a URL that is read."""
    return as_given(text).lower().startswith(("hf://", "http://", "https://"))


def shown(path: str | Path) -> str:
    """Return a path as :func:`as_given`, of a URL without what may be a secret."""
    text = as_given(path)
    return str(WebAddress(text)) if text.lower().startswith(("http://", "https://")) else text


def address_of(path: str | Path) -> HubAddress | WebAddress | None:
    """Return the address that a path spells; ``None`` for the path of a file.

    Raises
    ------
    InputError
        RA-IN-094: a URL of a scheme that is not read.
    UsageError
        RA-IN-220: ``hf://`` and no name of a model, or ``https://`` and no URL.
    """
    text = as_given(path)
    url = _URL.fullmatch(text)
    if url is None or len(url[1]) < 2 or "://" not in text:
        return None
    scheme = url[1].lower()
    if scheme == "hf":
        return _spelt(url[2], text)
    if scheme not in {"http", "https"}:
        raise InputError(
            "RA-IN-094",
            f"URLs of the scheme {scheme} are not read; local files and hf://, https:// and "
            "http:// URLs are.",
            hint="Download it first.",
            where=display_name(text),
        )
    try:
        page = _page_of_hub(text)
        _ = urlsplit(text).port
    except ValueError as error:
        raise UsageError(
            "RA-IN-220", f"This is not a URL: {display_name(str(error))}.", where=display_name(shown(text))
        ) from error
    return page or WebAddress(text)


def named_model(path: str | Path) -> HubAddress | None:
    """Return the model that ``org/name`` or ``name`` may mean; ``None`` where it is the path of a file.

    A path that exists, or whose folder does, or that has the ending of a file, is no name of a model.
    """
    text = os.fspath(path)
    given = Path(path)
    if not _REPOSITORY.fullmatch(text) or given.suffix.lower() in FILE_ENDINGS or os.path.lexists(given):
        return None
    if given.parent != Path() and os.path.lexists(given.parent):
        return None
    return HubAddress(text)


def is_repository(text: str) -> bool:
    """Whether a text has the form of the name of a model."""
    return _REPOSITORY.fullmatch(text) is not None


def endpoint() -> str:
    """Return the URL of the Hub: ``HF_ENDPOINT``, or huggingface.co."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def _spelt(rest: str, text: str) -> HubAddress:
    """Return what ``org/name@revision/inside`` spells."""
    parts = [part for part in rest.split("/") if part]
    if parts and parts[0] in _OTHER_KINDS:
        raise UsageError(
            "RA-IN-220",
            f"{parts[0]} of the Hub are not read; models are.",
            hint="Give hf://OWNER/MODEL.",
            where=display_name(text),
        )
    alone = len(parts) == 1 or (bool(parts) and "@" in parts[0])
    alone = alone or (len(parts) == 2 and "@" not in parts[1] and Path(parts[1]).suffix in FILE_ENDINGS)
    count = 1 if alone else 2
    repository, _, revision = "/".join(parts[:count]).partition("@")
    inside = parts[count:]
    if revision == "refs":  # refs/pr/1 and refs/convert/NAME are the only revisions with slashes of their own
        revision, inside = "/".join(["refs", *inside[:2]]), inside[2:]
    return _checked(HubAddress(repository, unquote(revision), "/".join(inside)), text)


def _page_of_hub(url: str) -> HubAddress | None:
    """Return the model of a page or a file of the Hub; ``None`` for any other URL."""
    parts = urlsplit(url)
    if parts.hostname not in _HUB_HOSTS and parts.netloc != urlsplit(endpoint()).netloc:
        return None
    names = [unquote(name) for name in parts.path.split("/") if name]
    verbs = {"resolve", "blob", "tree", "raw"}
    count = 1 if len(names) > 1 and names[1] in verbs else 2
    if not names or names[0] in _OTHER_KINDS | {"api"} or (len(names) > count and names[count] not in verbs):
        return None
    revision, inside = (names[count + 1 : count + 2], names[count + 2 :]) if len(names) > count else ([], [])
    if revision == ["refs"]:
        revision, inside = ["/".join(["refs", *inside[:2]])], inside[2:]
    return _checked(HubAddress("/".join(names[:count]), "".join(revision), "/".join(inside)), url)


def _checked(address: HubAddress, text: str) -> HubAddress:
    parts = address.inside.split("/")
    revision = address.revision
    if (
        not _REPOSITORY.fullmatch(address.repository)
        or (revision and (not _REVISION.fullmatch(revision) or ".." in revision))
        or ".." in parts
        or "\0" in address.inside
    ):
        raise UsageError(
            "RA-IN-220",
            "This is not the name of a model of the Hub.",
            hint="Give hf://OWNER/NAME, hf://OWNER/NAME@REVISION or hf://OWNER/NAME/FILE.",
            where=display_name(shown(text)),
        )
    return address
