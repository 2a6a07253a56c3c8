"""HTTP as streaming needs it: redirects that keep the token at home, and errors in the words of a user.

The connections are those of ``huggingface_hub`` (the extra ``hub``): its proxies, certificates and pool.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

from rmtaudit.checkpoints.optional import require
from rmtaudit.errors import InputError, UnsafeError
from rmtaudit.names import display_name
from rmtaudit.version import installed_version

TIMEOUT = 30.0
"""Seconds without a byte, or without a connection, after which a request is given up."""

RETRIES = 5
"""Attempts after the first, as many as those of ``huggingface_hub``."""

FIRST_PAUSE = 0.5
"""Seconds before the second attempt; twice as long before each further one."""

_LONGEST_PAUSE = 8.0
_REDIRECTS = 10
_JSON_CAP = 64 << 20
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class InterruptedReplyError(Exception):
    """A request that may succeed when it is repeated.

    Attributes
    ----------
    pause
        Seconds that the server asks to wait; 0 where it does not say.
    """

    def __init__(self, problem: str, pause: float = 0.0) -> None:
        super().__init__(problem)
        self.pause = pause


class Client:
    """Requests to one server, and to where it redirects.

    Parameters
    ----------
    what
        What needs the extra, a plural, for the message where it is not installed.
    where
        The address, for messages.
    home
        The URL whose origin alone is sent the token of the user; ``""`` for none.

    Raises
    ------
    InputError
        RA-IN-099: huggingface_hub is not installed.
    """

    def __init__(self, what: str, where: str, home: str = "") -> None:
        library, utils, errors, constants = (
            require(f"huggingface_hub{part}", extra="hub", what=what, where=where)
            for part in ("", ".utils", ".errors", ".constants")
        )
        self.where = where
        self._session: Any = utils.get_session()
        self._home = _origin(home) if home else None
        # not build_hf_headers: it asks the Hub for a list of agents, and keeps it on disk
        implicit = bool(home) and not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN
        token = utils.get_token() if implicit else None
        self._token = f"Bearer {token}" if token else None
        self._headers: Mapping[str, str] = {
            "user-agent": f"rmtaudit/{installed_version()}; hf_hub/{library.__version__}",
            "accept-encoding": "identity",
        }
        self._reached = False
        self._offline: type[Exception] = errors.OfflineModeIsEnabled
        self._transport, self._invalid = _errors_of(self._session, library.__version__, where)

    @property
    def has_token(self) -> bool:
        """Whether the user has logged in, or set ``HF_TOKEN``."""
        return self._token is not None

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[tuple[Any, str]]:
        """Yield the answer to a GET, its body unread, after redirects; its ``url`` is the last of them.

        The text beside it is the entity tag that the Hub states of the file when it redirects, ``""`` without
        one: the SHA-256 of a file that is stored as large.

        Raises
        ------
        InterruptedReplyError
            The connection broke, or the server asks to come back later. Also while the body is read.
        InputError
            Nothing at that address can be asked: offline mode, a URL that is none, too many redirects.
        UnsafeError
            A redirect to another scheme, or from an encrypted to an open connection.
        """
        start, linked = url, ""
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
            raise self._without_network()
        try:
            for _ in range(_REDIRECTS):
                sent = {**self._headers, **headers}
                if self._token is not None and _origin(url) == self._home:
                    sent["authorization"] = self._token
                with self._session.stream(
                    "GET", url, headers=sent, follow_redirects=False, timeout=TIMEOUT
                ) as reply:
                    self._reached = True
                    linked = reply.headers.get("x-linked-etag", "").strip('"') or linked
                    if reply.status_code in {301, 302, 303, 307, 308} and "location" in reply.headers:
                        url = self._redirected(url, reply.headers["location"])
                        continue
                    if reply.status_code in _AGAIN:
                        raise InterruptedReplyError(
                            f"the server answered {reply.status_code}", _pause(reply.headers)
                        )
                    yield reply, linked
                    return
        except self._offline as error:
            raise self._without_network() from error
        except self._invalid as error:
            raise InputError("RA-IN-223", "This URL cannot be requested.", where=self.where) from error
        except self._transport as error:
            raise InterruptedReplyError(_problem(error)) from error
        raise InputError(
            "RA-IN-223",
            f"The server sent more than {_REDIRECTS} redirects, the first from {display_name(_site(start))}.",
            where=self.where,
        )

    def json(self, url: str) -> Any:
        """Return what a URL answers in JSON. Raises ``InputError``."""
        failures = 0
        while True:
            try:
                with self.get(url, {}) as (reply, _):
                    self.check_status(reply)
                    data = bytearray()
                    for chunk in reply.iter_raw():
                        data += chunk
                        if len(data) > _JSON_CAP:
                            raise InputError(
                                "RA-IN-008",
                                f"The server's answer is longer than {_JSON_CAP} bytes.",
                                where=self.where,
                            )
                return json.loads(bytes(data))
            except InterruptedReplyError as error:
                failures += 1
                self.wait(failures, error)
            except (ValueError, RecursionError) as error:
                raise InputError("RA-IN-225", "The server's answer is not JSON.", where=self.where) from error

    def wait(self, failures: int, error: InterruptedReplyError) -> None:
        """Wait before another attempt. Raises ``InputError`` after the last.

        A server that has never answered is asked twice: it is not there, or this machine is not connected.
        """
        if failures > (RETRIES if self._reached else 1):
            raise InputError(
                "RA-IN-223",
                f"The file cannot be read: {error} ({failures} attempts).",
                hint="Check the connection, HF_ENDPOINT and the proxy settings.",
                where=self.where,
            ) from error
        time.sleep(min(max(error.pause, FIRST_PAUSE * 2 ** (failures - 1)), 4 * _LONGEST_PAUSE))

    def check_status(self, reply: Any) -> None:
        """Raise ``InputError`` for an answer that is no success."""
        status = reply.status_code
        if status < 300:
            return
        code = reply.headers.get("x-error-code", "")
        if status in {401, 403}:
            raise self._refused(status, gated=code == "GatedRepo", absent=code == "RepoNotFound")
        if status in {404, 410}:
            what = {"RevisionNotFound": "no such revision", "RepoNotFound": "no such model"}
            raise InputError(
                "RA-IN-222",
                f"{what.get(code, 'not found')} ({status}).",
                hint="Check the name." if code else "Check the URL.",
                where=self.where,
            )
        raise InputError("RA-IN-225", f"The server answered {status}.", where=self.where)

    def _without_network(self) -> InputError:
        return InputError(
            "RA-IN-223",
            "Offline mode is set (HF_HUB_OFFLINE).",
            hint="Unset it, or give a model that is in the local cache.",
            where=self.where,
        )

    def _refused(self, status: int, *, gated: bool, absent: bool) -> InputError:
        if self._home is None:
            return InputError(
                "RA-IN-221",
                f"The server denied access ({status}).",
                hint="Use a URL that needs no login, or a signed URL that has not expired.",
                where=self.where,
            )
        login = "Log in with hf auth login, or set HF_TOKEN"
        if gated:
            message = f"The model is gated, and access was denied ({status})."
            hint = f"Accept its terms on its page on the Hub. {login}."
        elif absent or status == 401:
            message = f"The Hub has no such model, or it is private ({status})."
            hint = f"Check the name. {login} if it is private."
        else:
            message, hint = f"Access was denied ({status}).", f"{login} to a token that may read it."
        if self.has_token:
            hint = hint.replace(
                login, "The token that is set does not allow it: run hf auth login, or set HF_TOKEN"
            )
        return InputError("RA-IN-221", message, hint=hint, where=self.where)

    def _redirected(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        scheme, before = urlsplit(target).scheme, urlsplit(url).scheme
        if scheme not in {"http", "https"} or (before == "https" and scheme == "http"):
            raise UnsafeError(
                "RA-IN-225",
                f"{display_name(_site(url))} redirects to {display_name(scheme)}:, which is not followed.",
                where=self.where,
            )
        return target


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    default = 443 if parts.scheme == "https" else 80
    return parts.scheme, (parts.hostname or "").lower(), port or default


def _site(url: str) -> str:
    return urlsplit(url).hostname or "the server"


def _pause(headers: Mapping[str, str]) -> float:
    text = headers.get("retry-after", "")
    spent = re.search(r"\br=0\s*;\s*t=([0-9]{1,6})", headers.get("ratelimit", ""))  # as the Hub says it
    if re.fullmatch(r"[0-9]{1,6}", text):
        return float(text)
    return float(spent[1]) if spent else 0.0


def _problem(error: Exception) -> str:
    """Say what broke, without the URL, which may be signed."""
    words = {
        "ConnectError": "no connection",
        "ConnectTimeout": "no connection was made in time",
        "ReadTimeout": f"no data arrived within {TIMEOUT:g} seconds",
        "ProxyError": "the proxy refused the connection",
    }
    return words.get(type(error).__name__, f"the connection broke ({type(error).__name__})")


def _errors_of(session: Any, version: str, where: str) -> tuple[type[Exception], type[Exception]]:
    """Return what a session raises for a broken connection, and for a URL that is none."""
    for kind in type(session).__mro__:  # of httpx, or of a library that took its place
        library: Any = sys.modules.get(kind.__module__.partition(".")[0])
        if hasattr(library, "TransportError") and hasattr(library, "InvalidURL"):
            return library.TransportError, library.InvalidURL
    raise InputError(
        "RA-IN-099",
        f"The installed huggingface_hub {display_name(version)} is too old to read over the network.",
        hint="pip install 'rmtaudit[hub]'",
        where=where,
    )
