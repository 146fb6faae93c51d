"""Telling somebody elsewhere that a run has ended, stalled or failed, or that a figure regressed.

A web hook is an address that takes a POST: its JSON has the message as ``text`` and as ``content``,
which chat services show, and the facts beside it. Any other address, such as ``mailto://`` or
``tgram://``, is apprise's (https://github.com/caronc/apprise, the extra ``notify``).

An address often holds a token, so it may also be named: ``env:NAME`` or ``file:PATH``. No message
or log of this program shows more of it than its scheme and host.
"""

from __future__ import annotations

import json
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from enum import StrEnum
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from harness.errors import InputError, Problem
from harness.installed import to_install
from harness.records import record
from harness.report.clean import plain

_TIMEOUT_S = 10.0
_WEB = ("http", "https")
_MOST = 1500  # characters of a message; chat services refuse more than 2000


class Happening(StrEnum):
    """What is worth telling."""

    ENDED = "ended"
    FAILED = "failed"
    STALLED = "stalled"
    REGRESSED = "regressed"
    SUSPECTED = "suspected"


@record
class Notice:
    """What is told.

    Attributes:
        facts: for a program that takes it.
    """

    happening: Happening
    title: str
    body: str
    facts: Mapping[str, str | float | int | None]


class Notifier:
    """Sends messages to one address.

    Args:
        address: of a web hook, or of apprise.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    @property
    def shown(self) -> str:
        """The address as it may be shown."""
        parts = urlsplit(self._address)
        host = parts.hostname or ""
        return f"{parts.scheme}://{host if parts.scheme in _WEB else '***'}"

    def send(self, message: Notice) -> str:
        """Send a message; return why it could not be sent, or nothing. It never raises."""
        title, body = plain(message.title)[:_MOST], message.body[:_MOST]
        if urlsplit(self._address).scheme not in _WEB:
            return self._by_apprise(title, body)
        text = f"{title}\n{body}" if body else title
        document = {
            "text": text,
            "content": text,
            "title": title,
            "message": body,
            "event": message.happening.value,
            **message.facts,
        }
        request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
            self._address,
            data=json.dumps(document).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "spark-article-harness"},
            method="POST",
        )
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=_TIMEOUT_S):
                return ""
        except urllib.error.HTTPError as error:
            return f"{self.shown} answered {error.code}"
        except (OSError, HTTPException, ValueError) as error:
            return f"{self.shown} cannot be reached: {type(error).__name__}"

    def _by_apprise(self, title: str, body: str) -> str:
        import apprise  # noqa: PLC0415 - an extra, and slow to load

        logging.getLogger("apprise").disabled = True  # it would say addresses
        service = apprise.Apprise()
        if not service.add(self._address):
            return f"{self.shown} is no address that apprise knows"
        sent = service.notify(title=title, body=body or title)
        return "" if sent else f"{self.shown} could not be told"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a hook's body goes to the address that was given, and nowhere else."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Refuse."""


def notifier(given: str) -> Notifier:
    """Return what sends to the address that an option gives.

    Args:
        given: an address, ``env:NAME`` or ``file:PATH``.

    Raises:
        InputError: there is no such variable or file, it holds no address, or the address needs
            apprise, which is not installed. The message does not hold the address.
    """
    kind, _, name = given.partition(":")
    address = given
    if kind == "env":
        address = os.environ.get(name, "").strip()
        if not address:
            _refuse("the variable is not set", value=name, allowed="an address in it")
    elif kind == "file" and not name.startswith("//"):
        try:
            address = Path(name).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            _refuse(f"the file cannot be read: {type(error).__name__}", value=name)
        if not address:
            _refuse("the file is empty", value=name, allowed="an address in its first line")
        address = address.splitlines()[0].strip()
    try:
        scheme = urlsplit(address).scheme
        host = urlsplit(address).hostname
    except ValueError:
        scheme, host = "", None
    if not scheme or (scheme in _WEB and not host):
        _refuse("is no address", allowed="https://..., env:NAME, file:PATH, or one of apprise's")
    if scheme not in _WEB and find_spec("apprise") is None:
        _refuse(
            f"addresses of {scheme}:// need apprise, which is not installed",
            allowed=f"{to_install('notify')}; or a web hook (https://...)",
        )
    return Notifier(address)


def _refuse(message: str, value: str = "", allowed: str = "") -> None:
    problem = Problem(message=message, key="--notify", value=value, allowed=allowed)
    raise InputError([problem])
