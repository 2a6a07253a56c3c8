"""The bytes of a file that a server has, read by range requests.

What was asked for is transferred, and little more: small reads that follow each other are read ahead, and
what lies at the beginning, where headers are, is kept.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rmtaudit.checkpoints.local_bytes import Snapshot
from rmtaudit.checkpoints.remote.client import Client, InterruptedReplyError
from rmtaudit.errors import ChangedError, InputError

HEAD = 16 << 10
"""Bytes of the first read of a file: most headers are shorter, or not much longer."""

WHOLE = 1 << 20
"""Largest file that is read whole from a server that does not serve ranges."""

_SMALL = 32 << 10  # reads below it are read ahead where they follow each other
_AHEAD = 256 << 10
_KEPT = 1 << 20  # bytes of small reads that are kept
_GAP = 64 << 10  # pieces nearer than this are one request
_PIECE = 16 << 20
_PROGRESS = 1 << 20  # bytes after which a broken connection counts as the first again
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBER = r"[0-9]{1,18}"
_RANGE = re.compile(rf"bytes ({_NUMBER})-({_NUMBER})/({_NUMBER}|\*)|bytes \*/({_NUMBER})")


@dataclass(slots=True)
class _Kept:
    """What small reads brought, the latest last."""

    segments: list[tuple[int, bytes]] = field(default_factory=list)

    def fill(self, offset: int, view: memoryview) -> int:
        """Fill the start of a view from ``offset``; return how many bytes were there."""
        done = 0
        while done < len(view):
            at, left = offset + done, len(view) - done
            piece = next(
                (
                    data[at - start : at - start + left]
                    for start, data in self.segments
                    if start <= at < start + len(data)
                ),
                b"",
            )
            if not piece:
                break
            view[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def add(self, offset: int, data: bytes) -> None:
        self.segments.append((offset, data))
        while sum(len(each) for _, each in self.segments) > _KEPT and len(self.segments) > 1:
            self.segments.pop(1 if self.segments[0][0] == 0 and len(self.segments) > 2 else 0)


class RemoteFile:
    """A file that a server has.

    Parameters
    ----------
    client
        Asks the server.
    url
        Of the file; it is never shown.
    where
        Its name in messages.
    size
        Its bytes, where they are known; otherwise the first read tells.
    version
        What tells this state of the file from any other, where nothing else can ever be at that URL; nobody
        need look at the end then. Otherwise the entity tag of the server does.
    sha256
        The digest that the Hub states of the file, which every redirect of the Hub states again.

    Raises
    ------
    InputError
        There is no such file, or the server refuses it, where ``size`` is not given.
    """

    def __init__(
        self,
        client: Client,
        url: str,
        where: str,
        *,
        size: int | None = None,
        version: str = "",
        sha256: str | None = None,
    ) -> None:
        self._client = client
        self._url = url
        self._target = url
        self._where = where
        self._version, self._sha256 = version, sha256
        self._lock = threading.Lock()
        self._kept = _Kept()
        self._mark: tuple[str, str] | None = None
        self._end, self._window = -1, 0
        self.size = -1 if size is None else size
        if size is None:
            self._begin()

    @property
    def snapshot(self) -> Snapshot:
        """The state of the file: its size, and what stands for its version."""
        version = self._version or repr(self._mark)
        number = int.from_bytes(hashlib.sha256(version.encode()).digest()[:6])
        return Snapshot(0, number, self.size, number)

    def read(self, pieces: Iterable[tuple[int, memoryview]], start: int) -> None:
        """Fill each view from its position; neighbours are one request (see :meth:`FileBytes.read`)."""
        group: list[tuple[int, memoryview]] = []
        for offset, view in pieces:
            at = start + offset
            if group:
                end = group[-1][0] + len(group[-1][1])
                if at < end or at - end > _GAP or at + len(view) - group[0][0] > _PIECE:
                    self._read_group(group)
                    group = []
            group.append((at, view))
        if group:
            self._read_group(group)

    def check_unchanged(self) -> None:
        """Ask for one byte again, where the file can change. Raises ``ChangedError``."""
        if not self._version and self._mark is not None and self.size > 0:
            self._fetch(0, memoryview(bytearray(1)))

    def _read_group(self, group: list[tuple[int, memoryview]]) -> None:
        if len(group) == 1:
            self._read(*group[0])
            return
        first = group[0][0]
        data = memoryview(bytearray(group[-1][0] + len(group[-1][1]) - first))
        self._read(first, data)
        for at, view in group:
            view[:] = data[at - first : at - first + len(view)]

    def _read(self, offset: int, view: memoryview) -> None:
        with self._lock:
            done = self._kept.fill(offset, view)
            length = len(view) - done
            wanted = self._reach(offset, len(view), length) if length else 0
        if not length:
            return
        if wanted >= _KEPT:
            self._fetch(offset + done, view[done:])
            return
        data = bytearray(wanted)
        self._fetch(offset + done, memoryview(data))
        view[done:] = data[:length]
        with self._lock:
            self._kept.add(offset + done, bytes(data))

    def _reach(self, offset: int, length: int, missing: int) -> int:
        """Return how many bytes are requested: more than are missing where small reads follow each other."""
        follows = 0 <= offset - self._end <= 1024
        self._end = offset + length
        if length >= _SMALL:
            return missing
        self._window = min(max(2 * self._window, 2 * length), _AHEAD) if follows else 0
        wanted = max(missing, self._window, HEAD if offset == 0 else 0)
        return min(wanted, self.size - (offset + length - missing))

    def _begin(self) -> None:
        """Learn the size of the file from its first bytes."""
        data = bytearray(HEAD)
        done = self._fetch(0, memoryview(data), most=True)
        self._kept.add(0, bytes(data[:done]))

    def _fetch(self, offset: int, view: memoryview, *, most: bool = False) -> int:
        """Fill a view with bytes from the server; ``most``: with those that there are."""
        done = mark = failures = 0
        renewed = False
        while done < len(view):
            problem = InterruptedReplyError("the connection was cut")
            try:
                with self._client.get(self._target, self._headers(offset + done, len(view) - done)) as (
                    reply,
                    linked,
                ):
                    self._check_linked(linked)
                    if not renewed and self._has_expired(reply.status_code):
                        renewed, self._target = True, self._url
                        continue
                    skipped, length = self._accepted(reply, offset + done, len(view) - done)
                    if most:
                        view = view[: min(len(view), length)]
                    for chunk in reply.iter_raw():
                        piece = memoryview(chunk)[skipped:][: len(view) - done]
                        skipped = max(0, skipped - len(chunk))
                        view[done : done + len(piece)] = piece
                        done += len(piece)
                        if done == len(view):
                            break
            except InterruptedReplyError as error:
                problem = error
            if done < len(view):
                failures, mark = (1, done) if done - mark >= _PROGRESS else (failures + 1, mark)
                self._client.wait(failures, problem)
        return done

    def _headers(self, offset: int, length: int) -> dict[str, str]:
        headers = {"range": f"bytes={offset}-{offset + length - 1}"}
        if not self._version and self._mark is not None and self._mark[0].startswith('"'):  # a strong tag
            headers["if-range"] = self._mark[0]
        return headers

    def _check_linked(self, linked: str) -> None:
        if _SHA256.fullmatch(linked) and self._sha256 and linked != self._sha256:
            raise self._changed("the Hub now has another version of it")

    def _has_expired(self, status: int) -> bool:
        """Whether a signed URL, to which the server redirected before, is no longer good."""
        return self._target != self._url and status in {400, 401, 403, 404, 410}

    def _accepted(self, reply: Any, offset: int, wanted: int) -> tuple[int, int]:
        """Check an answer; return the bytes of its body before the first wanted one, and those from there."""
        headers = reply.headers
        if reply.status_code == 416:
            match = _RANGE.fullmatch(headers.get("content-range", ""))
            if self.size < 0 and match is not None and match[4] == "0":
                self.size = 0
                return 0, 0
            raise self._changed("it is shorter than it was")
        self._client.check_status(reply)
        if headers.get("content-encoding", "identity") not in {"", "identity"}:
            raise InputError("RA-IN-224", "The server compresses what it sends.", where=self._where)
        mark = (headers.get("etag", ""), headers.get("last-modified", ""))
        if self._mark is None:
            self._mark = mark
        elif not _are_compatible(mark, self._mark):
            raise self._changed("the server now has another version of it")
        if reply.status_code == 206:
            match = _RANGE.fullmatch(headers.get("content-range", ""))
            if match is None or match[1] is None or int(match[1]) != offset:
                raise InputError(
                    "RA-IN-224", "The server sent a different range than was requested.", where=self._where
                )
            self._check_size(None if match[3] == "*" else int(match[3]))
            skipped, length = 0, int(match[2]) + 1 - offset
        else:
            whole = headers.get("content-length", "")
            self._check_size(int(whole) if re.fullmatch(_NUMBER, whole) else None)
            if self.size > max(WHOLE, 0 if offset else wanted):
                raise InputError(
                    "RA-IN-224",
                    f"The server does not serve ranges, and the file has {self.size} bytes.",
                    hint="Download it first.",
                    where=self._where,
                )
            skipped, length = offset, self.size - offset
        self._target = str(reply.url)
        return skipped, length

    def _check_size(self, size: int | None) -> None:
        if self.size < 0:
            if size is None:
                raise InputError(
                    "RA-IN-224", "The server does not say how large the file is.", where=self._where
                )
            self.size = size
        elif size is not None and size != self.size:
            raise self._changed(f"{self.size} bytes before, {size} now")

    def _changed(self, how: str) -> ChangedError:
        return ChangedError(
            "RA-IN-007",
            f"The file changed while it was being read: {how}.",
            hint="Start again, and name a commit (@REVISION), which never changes.",
            where=self._where,
        )


class RemoteHandle:
    """One opening of a :class:`RemoteFile`, as a file of this machine is opened."""

    def __init__(self, file: RemoteFile, where: str) -> None:
        self._file: RemoteFile | None = file
        self._where = where
        self._snapshot = file.snapshot

    @property
    def snapshot(self) -> Snapshot:
        """The state of the file at opening."""
        return self._snapshot

    def read(self, pieces: Iterable[tuple[int, memoryview]], start: int) -> None:
        """Fill each view from its position (see :meth:`FileBytes.read`)."""
        file = self._file
        if file is None:
            raise InputError("RA-IN-006", "The checkpoint is closed.", where=self._where)
        file.read(pieces, start)

    def advise(self, offset: int, length: int) -> None:
        """Do nothing: bytes are transferred when they are read."""

    def check_unchanged(self) -> str:
        """Compare the file with what was read of it. Raises ``ChangedError``."""
        if self._file is not None:
            self._file.check_unchanged()
        return ""

    def park(self) -> None:
        """Do nothing: connections are shared."""

    def close(self) -> None:
        """Let go of the file."""
        self._file = None


def _are_compatible(mark: tuple[str, str], before: tuple[str, str]) -> bool:
    """Whether two answers may be of one version: equal tags, or equal dates where one has no tag."""
    tagged = bool(mark[0] and before[0])
    first, second = (mark[0], before[0]) if tagged else (mark[1], before[1])
    return not first or not second or first == second
