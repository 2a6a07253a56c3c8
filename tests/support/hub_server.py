"""A server on this machine that speaks the endpoints of the Hugging Face Hub, and can misbehave.

Files below a folder are a model. Large ones are redirected to another port, as the Hub redirects to its CDN.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 4096  # bytes from which a file is stored as large
REPOSITORY, COMMIT = "org/name", "c0ffee" + "0" * 34
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass
class Request:
    """What was asked for, and the bytes of the body that was sent."""

    method: str
    port: int
    path: str
    headers: dict[str, str]
    sent: int = 0


@dataclass
class HubServer:
    """The model, the faults that are set, and what was asked for."""

    folder: Path
    port: int = 0
    cdn: int = 0
    requests: list[Request] = field(default_factory=list)
    token: str = ""
    gated: bool = False
    cuts: int = 0  # that many bodies are cut after `cut_after` bytes
    cut_after: int = 1000
    ignores_ranges: bool = False
    pause: float = 0.0  # seconds before every chunk
    chunk: int = 1 << 16
    busy: int = 0  # that many requests are answered with 503
    expired: int = 0  # that many requests of the CDN are refused
    versions: dict[str, int] = field(default_factory=dict)
    redirect: str = ""

    @property
    def endpoint(self) -> str:
        """The URL of the Hub."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def web(self) -> str:
        """The URL under which the files lie without the Hub."""
        return f"http://127.0.0.1:{self.cdn}"

    @property
    def transferred(self) -> int:
        """Bytes of files that were sent."""
        return sum(request.sent for request in self.requests if not request.path.startswith("/api/"))

    def data(self, name: str) -> bytes:
        """The bytes of a file."""
        return (self.folder / name).read_bytes()

    def digest(self, name: str) -> str:
        """The SHA-256 of a file."""
        return _digest(self.folder / name, (self.folder / name).stat().st_mtime_ns)

    def tag(self, name: str) -> str:
        """The entity tag of a file, which :attr:`versions` changes."""
        status = (self.folder / name).stat()
        return f'"{status.st_size:x}-{status.st_mtime_ns:x}-{self.versions.get(name, 0)}"'


@lru_cache
def _digest(path: Path, changed: int) -> str:
    del changed  # the key of the cache
    return hashlib.sha256(path.read_bytes()).hexdigest()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # whoever asked has heard enough
            super().handle_error(request, client_address)


@contextmanager
def hub_server(folder: Path) -> Iterator[HubServer]:
    """Serve a folder as the model ``org/name``."""
    hub = HubServer(folder)
    servers = [_Server(("127.0.0.1", 0), _handler(hub)) for _ in range(2)]
    hub.port, hub.cdn = (server.server_port for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def _answer(self) -> None:
            assert isinstance(self.server, ThreadingHTTPServer)
            port = self.server.server_port
            headers = {key.lower(): value for key, value in self.headers.items()}
            self.request_seen = Request(self.command, port, self.path, headers)
            hub.requests.append(self.request_seen)
            if hub.busy > 0:
                hub.busy -= 1
                self._plain(503, b"busy")
                return
            path = unquote(urlsplit(self.path).path).strip("/")
            if port == hub.cdn:
                self._of_cdn(path)
            elif path.startswith("api/models/"):
                self._listing(path)
            else:
                self._resolve(path)

        def _allowed(self) -> bool:
            if not hub.token or self.request_seen.headers.get("authorization") == f"Bearer {hub.token}":
                return True
            code = "GatedRepo" if hub.gated else "RepoNotFound"
            self._plain(401 if not hub.gated else 403, b"", {"X-Error-Code": code})
            return False

        def _listing(self, path: str) -> None:
            match = re.fullmatch(rf"api/models/{REPOSITORY}/revision/(.+)", path)
            if not self._allowed():
                return
            if match is None or match[1] not in {"main", "v1", COMMIT, "refs/pr/1"}:
                code = "RepoNotFound" if match is None else "RevisionNotFound"
                self._plain(404, b"", {"X-Error-Code": code})
                return
            assert parse_qs(urlsplit(self.path).query) == {"blobs": ["true"]}
            files = sorted(each for each in hub.folder.rglob("*") if each.is_file())
            siblings = []
            for file in files:
                name, size = file.relative_to(hub.folder).as_posix(), file.stat().st_size
                entry: dict[str, Any] = {"rfilename": name, "size": size}
                if size >= LARGE:
                    entry["lfs"] = {"sha256": hub.digest(name), "size": size, "pointerSize": 130}
                siblings.append(entry)
            body = json.dumps({"id": REPOSITORY, "sha": COMMIT, "siblings": siblings}).encode()
            self._plain(200, body, {"Content-Type": "application/json"})

        def _resolve(self, path: str) -> None:
            if not self._allowed():
                return
            match = re.fullmatch(rf"{REPOSITORY}/resolve/[^/]+/(.+)", path)
            if match is None or not (hub.folder / match[1]).is_file():
                self._plain(404, b"", {"X-Error-Code": "EntryNotFound"})
                return
            name, size = match[1], (hub.folder / match[1]).stat().st_size
            headers = {"X-Repo-Commit": COMMIT}
            if size < LARGE:
                self._file(name, headers)
                return
            digest = hub.digest(name)
            headers |= {
                "X-Linked-Size": str(size),
                "X-Linked-Etag": f'"{digest}"',
                "ETag": f'"{digest}"',
            }
            target = hub.redirect or f"http://127.0.0.1:{hub.cdn}/{name}?signature=SECRET"
            self._plain(302, b"", {**headers, "Location": target})

        def _of_cdn(self, name: str) -> None:
            if hub.expired > 0:
                hub.expired -= 1
                self._plain(403, b"expired")
            else:
                self._file(name, {})

        def _file(self, name: str, headers: dict[str, str]) -> None:
            if not (hub.folder / name).is_file():
                self._plain(404, b"")
                return
            data, tag = hub.data(name), hub.tag(name)
            headers = {"ETag": tag, "Accept-Ranges": "bytes", **headers}
            wanted = _RANGE.fullmatch(self.request_seen.headers.get("range", ""))
            condition = self.request_seen.headers.get("if-range")
            if wanted is None or hub.ignores_ranges or (condition is not None and condition != tag):
                self._body(200, data, headers)
                return
            first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
            if first >= len(data):
                self._plain(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            self._body(206, data[first : last + 1], headers)

        def _plain(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _body(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            cut = hub.cuts > 0 and len(body) > hub.cut_after
            if cut:
                hub.cuts -= 1
                body = body[: hub.cut_after]
            try:
                for begin in range(0, len(body), hub.chunk):
                    if hub.pause:
                        time.sleep(hub.pause)
                    self.request_seen.sent += len(body[begin : begin + hub.chunk])
                    self.wfile.write(body[begin : begin + hub.chunk])
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            if cut:
                self.close_connection = True

    return Handler
