"""Servers that answer anything at all: an error of ours, or bytes, and an end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.checkpoints.remote import trees
from rmtaudit.checkpoints.remote.addresses import HubAddress
from rmtaudit.checkpoints.remote.client import RETRIES, Client, InterruptedReplyError
from rmtaudit.checkpoints.remote.ranges import RemoteFile, RemoteHandle
from rmtaudit.errors import InputError

DATA = bytes(range(256)) * 200

NUMBERS = st.sampled_from(["0", "1", "4096", "51200", "51199", "-1", "٣", "²", "9" * 5000, "1e3", "", "*"])
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "content-range": st.builds("bytes {}-{}/{}".format, NUMBERS, NUMBERS, NUMBERS) | NUMBERS,
        "content-length": NUMBERS,
        "etag": st.sampled_from(['"a"', '"b"', 'W/"a"', "", "a"]),
        "last-modified": st.sampled_from(["yesterday", ""]),
        "content-encoding": st.sampled_from(["gzip", "identity", ""]),
    },
)
REPLIES = st.lists(
    st.tuples(
        st.sampled_from([200, 206, 206, 206, 204, 304, 416, 403, 404, 500]),
        HEADERS,
        st.lists(st.binary(max_size=40), max_size=5),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


class Answering(Client):
    """A client that gets the given answers, one after the other, the last again and again."""

    def __init__(self, replies: list[tuple[int, dict[str, str], list[bytes], bool]]) -> None:
        self.where, self._home, self._token = "hostile", None, None
        self._reached, self.asked = True, 0
        self._replies = replies

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[Any]:
        del headers
        status, fields, chunks, breaks = self._replies[min(self.asked, len(self._replies) - 1)]
        self.asked += 1

        def body() -> Iterator[bytes]:
            yield from chunks
            if breaks:
                raise InterruptedReplyError("the connection broke")

        yield SimpleNamespace(status_code=status, headers=fields, iter_raw=body, url=url), ""

    def wait(self, failures: int, error: InterruptedReplyError) -> None:
        if failures > RETRIES:
            raise InputError("RA-IN-223", str(error))


@given(replies=REPLIES, size=st.sampled_from([None, 0, 1, 4096, len(DATA)]), offset=st.integers(0, 5000))
def test_every_answer_is_an_error_or_bytes(replies: Any, size: int | None, offset: int) -> None:
    client = Answering(replies)
    codes = {"RA-IN-007", "RA-IN-221", "RA-IN-222", "RA-IN-223", "RA-IN-224", "RA-IN-225"}
    code = "RA-IN-007"
    try:
        file = RemoteFile(client, "https://host/file", "file", size=size)
        handle = RemoteHandle(file, "file")
        length = min(100, max(0, file.size - offset))
        handle.read([(offset, memoryview(bytearray(length)))], 0)
        assert file.size >= 0
        handle.check_unchanged()
    except InputError as error:
        code = error.code
    assert code in codes
    assert client.asked <= 3 * (100 + RETRIES)


@given(
    cuts=st.lists(st.integers(0, 20_000), max_size=5),
    offset=st.integers(0, 40_000),
    length=st.integers(1, 11_000),
)
def test_what_was_cut_is_put_together(cuts: list[int], offset: int, length: int) -> None:
    class Cutting(Answering):
        @contextmanager
        def get(self, url: str, headers: Mapping[str, str]) -> Iterator[Any]:
            first, last = (int(part) for part in headers["range"].removeprefix("bytes=").split("-"))
            last = min(last, len(DATA) - 1)
            cut = cuts[self.asked] if self.asked < len(cuts) else len(DATA)
            self.asked += 1
            fields = {"content-range": f"bytes {first}-{last}/{len(DATA)}", "etag": '"a"'}
            body = DATA[first : last + 1][:cut]
            yield SimpleNamespace(status_code=206, headers=fields, iter_raw=lambda: iter([body]), url=url), ""

    file = RemoteFile(Cutting([]), "https://host/file", "file", size=len(DATA))
    for _ in range(2):  # the second from what was kept
        view = bytearray(length)
        file.read([(offset, memoryview(view))], 0)
        assert bytes(view) == DATA[offset : offset + length]


@pytest.mark.parametrize("sibling", ["../secret", "/etc/passwd", "a//b", "a\\b", "a\0b", "", 7, None])
def test_names_that_leave_the_model_are_not_listed(sibling: object, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"sha": "a" * 40, "siblings": [{"rfilename": sibling}, {"rfilename": "ok.bin", "size": -1}, 3]}
    fake = cast(Client, SimpleNamespace(json=lambda _: table))
    monkeypatch.setattr(trees, "Client", lambda *_, **__: fake)
    tree = trees.HubTree(HubAddress("org/name"), stream=True)
    assert tree.listed("") == (["ok.bin"], [])
    assert tree.files["ok.bin"] == (None, None)


@pytest.mark.parametrize(
    "table", [None, [], {}, {"sha": "main", "siblings": []}, {"sha": "a" * 40, "siblings": {}}]
)
def test_an_answer_that_is_no_listing(table: object, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = cast(Client, SimpleNamespace(json=lambda _: table))
    monkeypatch.setattr(trees, "Client", lambda *_, **__: fake)
    with pytest.raises(InputError, match="does not come from the Hub"):
        trees.HubTree(HubAddress("org/name"), stream=True)
