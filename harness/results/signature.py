"""Signatures by OpenSSH: ``ssh-keygen -Y``, with the key that a publisher has already.

A signature is kept as the SSHSIG blob that OpenSSH writes between its armour. It names its key, and
OpenSSH checks it: without any list whether the key made it, with a list of allowed signers (see
ssh-keygen(1)) also whose key it is.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tempfile
from pathlib import Path

from harness.errors import HostError, InputError, Problem
from harness.printable import plain

NAMESPACE = "spark-article-harness"  # a signature for another purpose is none for this one
ALLOWED_SIGNERS_FILE = "allowed_signers"
_MAGIC = b"SSHSIG\x00\x00\x00\x01"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_COLUMNS = 70  # as OpenSSH breaks its lines
_TIMEOUT_S = 120.0  # a passphrase may have to be typed


def sign(message: bytes, key: Path) -> bytes:
    """Return the signature of a message.

    Args:
        message: what is signed.
        key: a private key's file; or that of its public key, whose private one an agent holds.

    Raises:
        HostError: OpenSSH is not installed, or it cannot sign with this key.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "message"
        file.write_bytes(message)
        done = _ssh_keygen("-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE, str(file))
        signature = Path(folder) / "message.sig"
        if done.returncode or not signature.is_file():
            said = f"ssh-keygen cannot sign with {key}: {_said(done)}"
            raise HostError(said, "name a private key's file, or load it into ssh-agent")
        armour = signature.read_text(encoding="ascii")
    return base64.b64decode(armour.replace(_BEGIN, "").replace(_END, ""))


def key_id(signature: bytes) -> str:
    """Return the fingerprint of the key that a signature says it is of, as ``ssh-keygen -l`` does.

    Raises:
        ValueError: it is no signature of OpenSSH's.
    """
    head = len(_MAGIC) + 4
    length = int.from_bytes(signature[len(_MAGIC) : head])
    if not signature.startswith(_MAGIC) or len(signature) < head + length:
        message = "is no signature of OpenSSH's"
        raise ValueError(message)
    public = hashlib.sha256(signature[head : head + length]).digest()
    return f"SHA256:{base64.b64encode(public).decode().rstrip('=')}"


def fault(message: bytes, signature: bytes) -> str:
    """Return why a signature is not one of the message by the key it names; empty if it is."""
    with tempfile.TemporaryDirectory() as folder:
        file = _armoured(signature, Path(folder))
        arguments = ("-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(file))
        done = _ssh_keygen(*arguments, stdin=message)
    return f"is not a signature of this statement: {_said(done)}" if done.returncode else ""


def signer(message: bytes, signature: bytes, allowed: Path) -> str:
    """Return who signed, by a list of allowed signers; empty where none of them did.

    Raises:
        InputError: the list cannot be read.
    """
    if not allowed.is_file():
        problem = Problem(message="is no file of allowed signers", path=allowed)
        raise InputError([problem])
    with tempfile.TemporaryDirectory() as folder:
        file = str(_armoured(signature, Path(folder)))
        of = ("-s", file, "-f", str(allowed), "-n", NAMESPACE)
        found = _ssh_keygen("-Y", "find-principals", "-s", file, "-f", str(allowed))
        # a line of the list may name several, and a key may stand in several lines
        for name in found.stdout.decode(errors="replace").split():
            if not _ssh_keygen("-Y", "verify", "-I", name, *of, stdin=message).returncode:
                return plain(name)
    return ""


def _armoured(signature: bytes, folder: Path) -> Path:
    text = base64.b64encode(signature).decode()
    lines = [text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)]
    file = folder / "signature"
    file.write_text("\n".join([_BEGIN, *lines, _END, ""]), encoding="ascii")
    return file


def _ssh_keygen(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["ssh-keygen", *arguments],  # noqa: S607 - the user's own
            check=False,
            capture_output=True,
            timeout=_TIMEOUT_S,
            input=stdin,
        )
    except FileNotFoundError:
        message = "signatures need OpenSSH's ssh-keygen, which is not installed"
        raise HostError(message, "install openssh-client") from None
    except subprocess.TimeoutExpired:
        message = f"ssh-keygen did not answer within {_TIMEOUT_S:g} s"
        raise HostError(message, "load the key into ssh-agent first") from None


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
    return plain(lines[-1])
