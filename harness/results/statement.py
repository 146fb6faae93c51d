"""Who says what of a bundle: an in-toto statement in a DSSE envelope, one line of JSON.

The statement (https://in-toto.io/Statement/v1) names the archive by its sha256, and what its runs
are: it follows from the archive alone, so whoever has that can write it again and compare. The
envelope (https://github.com/secure-systems-lab/dsse) holds the statement and its signatures, which
are OpenSSH's (`harness.results.signature`). One without a signature says what, and not who.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import InputError, Problem
from harness.reading import read_json, read_regular_file
from harness.records import canonical_json, record

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_BYTES = 2**24


@record
class Signature:
    """One signature of a statement.

    Attributes:
        key: the fingerprint of the key, ``SHA256:...``.
        blob: as OpenSSH wrote it, without its armour.
    """

    key: str
    blob: bytes


@record
class Envelope:
    """A statement, byte by byte, and who signed it."""

    payload: bytes
    signatures: tuple[Signature, ...] = ()

    @property
    def signed_bytes(self) -> bytes:
        """What a signature is of: DSSE's pre-authentication encoding of type and payload."""
        kind = PAYLOAD_TYPE.encode()
        return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(self.payload), self.payload)

    @property
    def line(self) -> bytes:
        """The envelope as its file holds it."""
        document = {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {"keyid": each.key, "sig": base64.b64encode(each.blob).decode()}
                for each in self.signatures
            ],
        }
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def statement(kind: str, subjects: Mapping[str, str], predicate: Mapping[str, Any]) -> bytes:
    """Return a statement about files; the same arguments give the same bytes.

    Args:
        kind: the predicate's type, a URI.
        subjects: file name -> sha256.
        predicate: what is said of them.
    """
    document = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": name, "digest": {"sha256": digest}}
            for name, digest in sorted(subjects.items())
        ],
        "predicateType": kind,
        "predicate": predicate,
    }
    return canonical_json(document).encode()


def read_envelope(path: Path) -> Envelope:
    """Read an envelope's file.

    Raises:
        InputError: it is no envelope, or not as `Envelope.line` writes it.
    """
    try:
        line = read_regular_file(path, max_bytes=MAX_BYTES)
        document = read_json(line)
        if document["payloadType"] != PAYLOAD_TYPE:
            _refuse(path, "is no envelope of an in-toto statement", document["payloadType"])
        found = Envelope(
            payload=base64.b64decode(document["payload"], validate=True),
            signatures=tuple(_signatures(document["signatures"])),
        )
    except OSError as error:
        _refuse(path, f"cannot be read: {error.strerror}")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        _refuse(path, f"is no DSSE envelope: {error!r}")
    if found.line != line:  # nothing in it may say what nobody checks
        _refuse(path, "is not as it was written: other spaces, keys or padding")
    return found


def _signatures(documents: Sequence[Mapping[str, str]]) -> list[Signature]:
    return [
        Signature(key=str(each["keyid"]), blob=base64.b64decode(each["sig"], validate=True))
        for each in documents
    ]


def _refuse(path: Path, message: str, value: object = "") -> NoReturn:
    raise InputError([Problem(message=message, path=path, value=repr(value) if value else "")])
