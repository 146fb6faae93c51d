"""Statements and envelopes: the bytes that others' tools read, and nothing unchecked in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.results.signature import fault, key_id
from harness.results.statement import Envelope, Signature, read_envelope, statement

DIGEST = "5" * 64


def test_a_statement_is_golden() -> None:
    text = statement("urn:example", {"b": DIGEST}, {"é": 1})
    assert text.decode() == (
        '{"_type":"https://in-toto.io/Statement/v1","predicate":{"é":1},'
        '"predicateType":"urn:example","subject":[{"digest":{"sha256":"'
        + DIGEST
        + '"},"name":"b"}]}'
    )


def test_what_is_signed_is_dsses_encoding() -> None:
    """As the example of DSSE's protocol.md, with in-toto's type."""
    envelope = Envelope(payload=b"hello world")
    assert envelope.signed_bytes == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"


def test_an_envelope_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "envelope"
    envelope = Envelope(payload=b"{}", signatures=(Signature(key="SHA256:x", blob=b"\0\xff"),))
    path.write_bytes(envelope.line)
    assert read_envelope(path) == envelope


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace(b":", b": "),
        lambda line: line.strip(),
        lambda line: line.replace(b'"signatures"', b'"more":1,"signatures"'),
        lambda line: line.replace(b"e30=", b"e31="),  # a bit of the padding
        lambda line: line.replace(b"e30=", b"e3 0="),
        lambda line: line.replace(b"vnd.in-toto+json", b"json"),
        lambda line: line.replace(b"[]", b"{}"),
        lambda line: line.replace(b"[]", b'[{"keyid":1,"sig":""}]'),
        lambda line: line[:20],
        lambda _: b"[" * 1000,
        lambda _: b"null",
        lambda _: b"\xff",
    ],
)
def test_an_envelope_has_one_spelling(tmp_path: Path, change: object) -> None:
    path = tmp_path / "envelope"
    assert callable(change)
    path.write_bytes(change(Envelope(payload=b"{}").line))
    with pytest.raises(InputError, match=str(path)):
        read_envelope(path)


def test_a_huge_envelope_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "envelope"
    with path.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(InputError, match="larger than"):
        read_envelope(path)


@pytest.mark.parametrize("blob", [b"", b"SSHSIG", b"SSHSIG\0\0\0\1\xff\xff\xff\xff", b"x" * 64])
def test_what_is_no_signature_has_no_key(blob: bytes) -> None:
    with pytest.raises(ValueError, match="no signature of OpenSSH's"):
        key_id(blob)


def test_openssh_says_what_is_wrong_with_a_signature() -> None:
    assert "is not a signature of this statement" in fault(b"hello", b"SSHSIG\0\0\0\1")


def test_the_line_is_one_of_json_lines() -> None:
    line = Envelope(payload=b"{}").line
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "payload": "e30=",
        "payloadType": "application/vnd.in-toto+json",
        "signatures": [],
    }
