"""The files of a model of the Hub, and the file behind a URL with what lies beside it."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from rmtaudit.checkpoints.base import StatedFile
from rmtaudit.checkpoints.hub import cached_models, hub_cache
from rmtaudit.checkpoints.local_bytes import FileBytes, LocalFile
from rmtaudit.checkpoints.optional import require
from rmtaudit.checkpoints.remote.addresses import HubAddress, WebAddress, endpoint
from rmtaudit.checkpoints.remote.client import Client
from rmtaudit.checkpoints.remote.paths import RemotePath, rooted, rooted_file
from rmtaudit.checkpoints.remote.ranges import RemoteFile, RemoteHandle
from rmtaudit.errors import ChangedError, InputError
from rmtaudit.names import display_name, suggestion

Stated = tuple[int | None, str | None]

_FILES_CAP = 100_000
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubTree:
    """The files of a model of the Hub at one commit.

    Parameters
    ----------
    address
        The model, and the revision that is resolved to a commit.
    stream
        Whether files are read by range requests; otherwise they are downloaded into the cache of the Hub when
        they are opened.

    Attributes
    ----------
    commit
        What the revision stands for.
    files
        What the Hub states of each file: its size in bytes, and its SHA-256 where it is stored as large.

    Raises
    ------
    InputError
        The extra is not installed, the Hub cannot be reached, refuses access, or has no such model.
    """

    def __init__(self, address: HubAddress, *, stream: bool) -> None:
        self._repository, self._streams = address.repository, stream
        self._revision = address.revision or "main"
        self._where = display_name(str(address))
        self._endpoint = endpoint()
        self._client = Client("models of the Hub", self._where, home=self._endpoint)
        revision = quote(self._revision, safe="")
        url = f"{self._endpoint}/api/models/{self._repository}/revision/{revision}?blobs=true"
        try:
            table = self._client.json(url)
        except InputError as error:
            if error.code in {"RA-IN-221", "RA-IN-222"}:
                error.hint = f"{error.hint}{suggestion(self._repository, cached_models())}".strip()
            raise
        self.commit, self.files = self._listed(table)
        self._folders = _folders(self.files)
        self._lock = threading.Lock()
        self._open: dict[str, RemoteFile] = {}

    @property
    def streamed(self) -> tuple[StatedFile, ...]:
        """The files that were opened and are read over the network."""
        return tuple(
            StatedFile(name, file.size, self.files[name][1]) for name, file in sorted(self._open.items())
        )

    def listed(self, folder: str) -> tuple[list[str], list[str]]:
        """Return the names of the files and of the folders in a folder. Raises ``OSError``."""
        if folder not in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
        start = f"{folder}/" if folder else ""
        files, folders = (
            sorted(
                name[len(start) :]
                for name in names
                if name and name.startswith(start) and "/" not in name[len(start) :]
            )
            for names in (self.files, self._folders)
        )
        return files, folders

    def is_file(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return name in self.files

    def is_folder(self, name: str) -> bool:
        """Whether there is a folder of that name."""
        return name in self._folders

    def open_bytes(self, name: str, where: str) -> FileBytes:
        """Open a file: by range requests, or downloaded. Raises ``InputError``."""
        if name not in self.files:
            raise self._absent(name, where)
        if not self._streams:
            return LocalFile(self._downloaded(name, where), where)
        with self._lock:
            if name not in self._open:
                path = f"{self._repository}/resolve/{self.commit}/{quote(name)}"
                url = f"{self._endpoint}/{path}"
                size, sha256 = self.files[name]
                self._open[name] = RemoteFile(
                    self._client,
                    url,
                    where,
                    size=size,
                    version=f"{self.commit}/{name}",
                    sha256=sha256,
                )
            return RemoteHandle(self._open[name], where)

    def _absent(self, name: str, where: str) -> InputError:
        if name in self._folders:
            return InputError("RA-IN-003", "The path is a directory, not a regular file.", where=where)
        return InputError(
            "RA-IN-222",
            f"There is no such file in {self._where}.",
            hint=suggestion(name, self.files).strip() or "Omit the file: the model itself exists.",
            where=where,
        )

    def _downloaded(self, name: str, where: str) -> Path:
        library, errors = (
            require(f"huggingface_hub{part}", extra="hub", what="models of the Hub", where=where)
            for part in ("", ".errors")
        )
        try:
            path = library.hf_hub_download(
                self._repository,
                name,
                revision=self._revision,  # so that the cache knows what the revision stands for
                endpoint=self._endpoint,
                cache_dir=hub_cache(),
                library_name="rmtaudit",
            )
        except errors.GatedRepoError as error:
            raise InputError(
                "RA-IN-221",
                "The model is gated, and access was denied.",
                hint=(
                    "Accept its terms on its page on the Hub, and log in with hf auth login, or set HF_TOKEN."
                ),
                where=where,
            ) from error
        except errors.HfHubHTTPError as error:
            status = getattr(error.response, "status_code", "no answer")
            raise InputError(
                "RA-IN-225", f"The file cannot be downloaded: the Hub answered {status}.", where=where
            ) from error
        except Exception as error:  # of the transport, of the file system, of the checks of huggingface_hub
            raise InputError(
                "RA-IN-223",
                f"The file cannot be downloaded: {type(error).__name__}.",
                hint="Check the connection, and the free space for the cache of the Hub (HF_HOME).",
                where=where,
            ) from error
        if self.commit not in Path(path).parts:
            raise ChangedError(
                "RA-IN-007",
                "The model changed while it was being downloaded.",
                hint="Start again.",
                where=where,
            )
        return Path(path)

    def _listed(self, table: Any) -> tuple[str, dict[str, Stated]]:
        commit = table.get("sha") if isinstance(table, Mapping) else None
        siblings = table.get("siblings") if isinstance(table, Mapping) else None
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit) or not isinstance(siblings, list):
            raise InputError("RA-IN-225", "The answer does not come from the Hub.", where=self._where)
        if len(siblings) > _FILES_CAP:
            raise InputError(
                "RA-IN-225",
                f"The model has {len(siblings)} files; at most {_FILES_CAP} are supported.",
                where=self._where,
            )
        files = {}
        for entry in siblings:
            name = entry.get("rfilename") if isinstance(entry, Mapping) else None
            if isinstance(name, str) and name and not _leaves(name):
                files[name] = _stated(entry)
        return commit, files


class WebTree:
    """The file behind a URL, and what lies beside it; a folder of the web cannot be listed.

    Parameters
    ----------
    address
        The file. Where its URL has a query it may be signed for that file alone, and nothing beside it is
        asked for.

    Raises
    ------
    InputError
        The extra is not installed, or the server cannot be reached, refuses access, or has no such file.
    """

    def __init__(self, address: WebAddress) -> None:
        self._where = display_name(str(address))
        self._parts = urlsplit(address.url)
        self._name = self._parts.path.rpartition("/")[2]
        if not self._name:
            raise InputError(
                "RA-IN-222",
                "The URL names a folder, and nothing states which files are in it.",
                hint="Give the URL of a file.",
                where=self._where,
            )
        self._client = Client("URLs", self._where)
        self._lock = threading.Lock()
        self._absent: set[str] = set()
        self._open = {self._name: RemoteFile(self._client, address.url, self._where)}

    @property
    def streamed(self) -> tuple[StatedFile, ...]:
        """The files that were opened and are read over the network."""
        return tuple(StatedFile(name, file.size, None) for name, file in sorted(self._open.items()))

    def listed(self, folder: str) -> tuple[list[str], list[str]]:
        """Raise ``OSError``: a folder of the web cannot be listed."""
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), folder)

    def is_file(self, name: str) -> bool:
        """Whether the server has a file of that name beside the first."""
        try:
            return self._file(name) is not None
        except InputError:
            return False

    def is_folder(self, name: str) -> bool:
        """Whether it is the folder of the URL itself."""
        return not name

    def open_bytes(self, name: str, where: str) -> FileBytes:
        """Open a file by range requests. Raises ``InputError``."""
        file = self._file(name)
        if file is None:
            raise InputError(
                "RA-IN-222",
                "The file was not requested, because the URL may be signed for one file only.",
                where=where,
            )
        return RemoteHandle(file, where)

    def _file(self, name: str) -> RemoteFile | None:
        with self._lock:
            if name in self._open:
                return self._open[name]
            if not name or self._parts.query or name in self._absent:
                return None
            folder = self._parts.path.rpartition("/")[0]
            url = urlunsplit(self._parts._replace(path=f"{folder}/{quote(name)}"))
            try:
                self._open[name] = RemoteFile(self._client, url, display_name(name))
            except InputError:
                self._absent.add(name)
                raise
            return self._open[name]


def hub_path(address: HubAddress, *, stream: bool) -> RemotePath:
    """Return the path of a model of the Hub, its revision resolved. Raises ``InputError``."""
    tree = HubTree(address, stream=stream)
    root = rooted(str(HubAddress(address.repository, tree.commit)), tree)
    return root / address.inside if address.inside else root


def web_path(address: WebAddress) -> RemotePath:
    """Return the path of a file behind a URL. Raises ``InputError``."""
    tree = WebTree(address)
    folder, _, name = str(address).rpartition("/")
    return rooted_file(folder, name, tree, alone=bool(urlsplit(address.url).query))


def _folders(files: Iterable[str]) -> set[str]:
    """Return every folder on the way to a file, ``""`` for the model itself."""
    split = [name.split("/") for name in files]
    return {"/".join(parts[:end]) for parts in split for end in range(len(parts))} | {""}


def _stated(entry: Mapping[str, Any]) -> Stated:
    lfs, size = entry.get("lfs"), entry.get("size")
    digest = lfs.get("sha256") if isinstance(lfs, Mapping) else None
    known = isinstance(digest, str) and _SHA256.fullmatch(digest) is not None
    return size if type(size) is int and size >= 0 else None, digest if known else None


def _leaves(name: str) -> bool:
    """Whether a name is none of a file within the model."""
    return name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/") or "//" in name
