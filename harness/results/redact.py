"""Remove secrets from recorded text: command lines, variables, the ends of logs.

This errs on the side of hiding. Digests in lower-case hex, which results are full of, stay.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.runtime.environ import looks_secret
from harness.variables import chat_key

HIDDEN = "***"
_HOLD_ADDRESSES = ("--notify", "--notif", "--noti", "--not", "--no")  # tokens are part of these
_SHORTEST_KEY = 8  # "none" and "EMPTY" are used as keys of servers that need none

_FORMS = re.compile(
    r"""
      \bhf_[A-Za-z0-9]{16,}                          # Hugging Face
    | \bnvapi-[\w-]{16,}                             # NVIDIA NGC
    | \bsk-[\w-]{16,}                                # OpenAI and others alike
    | \bgh[opsur]_[A-Za-z0-9]{16,}                   # GitHub
    | \bgithub_pat_\w{16,}
    | \bglpat-[\w-]{16,}                             # GitLab
    | \bxox[abprs]-[\w-]{10,}                        # Slack
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b                  # AWS
    | \bAIza[\w-]{30,}                               # Google
    | \bey[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}            # a JSON web token
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    # 36 letters and digits of all three kinds in one word: a key of any service
    | (?<![A-Za-z0-9])(?=[A-Za-z0-9]*[a-z])(?=[A-Za-z0-9]*[A-Z])(?=[A-Za-z0-9]*[0-9])
      [A-Za-z0-9]{36,}={0,2}
    """,
    re.VERBOSE | re.DOTALL,
)
# what follows stays secret whatever it looks like
_AFTER = re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{8,}")
_USERINFO = re.compile(r"(://)[^/@\s]++@")
_NAMED = re.compile(r"""(?<![\w-])([\w-]++)["']?\s*[=:]\s*["']?""")
_VALUE = re.compile(r"""[^\s"',;&]+""")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def redact(text: str) -> str:
    """Return `text` with everything that looks like a secret replaced by ``***``.

    So is the key that runs are given, whatever it looks like. The user's home folder becomes
    ``~``: it holds a name.
    """
    key = chat_key(os.environ)
    if len(key) >= _SHORTEST_KEY:
        text = text.replace(key, HIDDEN)
    text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
    text = _AFTER.sub(rf"\1{HIDDEN}", text)
    text = _FORMS.sub(HIDDEN, _hide_assigned(text))
    home = os.path.expanduser("~")  # noqa: PTH111 - Path's raises where a user has no home
    return text.replace(home, "~") if home not in ("/", "~", "") else text


def redact_logs(folder: Path) -> None:
    """Rewrite each log in a run's folder that holds a secret; bytes that are no UTF-8 stay."""
    for log in folder.rglob("*.log"):
        text = log.read_bytes().decode(errors="surrogateescape")
        if (without := redact(text)) != text:
            log.write_bytes(without.encode(errors="surrogateescape"))


def redact_arguments(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return a command line with the values of ``--token VALUE`` and the like hidden as well."""
    return tuple(_redacted(arguments))


def _redacted(arguments: Sequence[str]) -> Iterator[str]:
    hide_next = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if hide_next:
            yield HIDDEN
        elif name in _HOLD_ADDRESSES and equals:
            yield f"{name}={HIDDEN}"
        else:
            yield redact(argument)
        is_option = argument.startswith("-") and not equals
        is_secret = name in _HOLD_ADDRESSES or _secret_name(argument)
        hide_next = is_option and not hide_next and is_secret


def _hide_assigned(text: str) -> str:
    """Hide the value of ``NAME=value`` and ``name: value`` for names that are those of secrets."""
    pieces, done = [], 0
    for found in _NAMED.finditer(text):
        value = _VALUE.match(text, found.end())
        if value is not None and found.start() >= done and _secret_name(found.group(1)):
            pieces += [text[done : found.end()], HIDDEN]
            done = value.end()
    return "".join([*pieces, text[done:]])


def _secret_name(name: str) -> bool:
    return looks_secret(_HUMP.sub("_", name.strip("-")).replace("-", "_"))
