"""A project with published results, ways to change them, and a key to sign them with."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.errors import ExitCode
from harness.results.archive import pack, sha256, unpack
from harness.results.bundle import MANIFEST_FILE, manifest
from harness.results.files import ARCHIVE_FILE, STATEMENT_FILE
from harness.results.signature import sign
from harness.results.statement import Envelope, Signature, read_envelope

from .small import LEDGER, NAME, SCENARIO, called, make_project

OTHER = "a98-other"
SIGNER = "publisher@example.org"
_GIT = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")


def git(project: Path, *words: str) -> None:
    command = ["git", "-C", str(project), *_GIT, *words]
    subprocess.run(command, check=True, capture_output=True)


def committed(project: Path) -> Path:
    """Make a project a repository of its own, with everything in it committed."""
    (project / ".gitignore").write_text("/results/local/\n", encoding="utf-8")
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "All of it")
    return project


def make_key(folder: Path, name: str = "key") -> Path:
    """Make a throwaway key, and return its private file."""
    key = folder / name
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    return key


def allow(key: Path, folder: Path) -> Path:
    """Return a list of allowed signers that holds one key."""
    allowed = folder / "allowed_signers"
    public = key.with_suffix(".pub").read_text(encoding="utf-8")
    allowed.write_text(f"{SIGNER} {public}", encoding="utf-8")
    return allowed


def make_publication(root: Path, key: Path) -> Path:
    """Return a project of two scenarios whose results are published, one of them signed."""
    project = make_project(root)
    other = project / "scenarios" / OTHER
    other.mkdir()
    for name, text in (("scenario.yaml", SCENARIO), ("expectations.yaml", LEDGER)):
        own = text.replace(NAME, OTHER).replace("replicates: 3", "replicates: 1")
        (other / name).write_text(own, encoding="utf-8")
    committed(project)
    for scenario, words in ((NAME, ("--sign", str(key))), (OTHER, ())):
        run = called(project, "run", scenario, "--profile", "cpu", "--runtime", "local")
        assert run.returncode == ExitCode.OK, run.stderr
        done = called(project, "publish", scenario, "--profile", "cpu", *words)
        assert done.returncode == ExitCode.OK, done.stderr
    allow(key, project / "results")
    return project


# --- changes --------------------------------------------------------------------------------------

Change = Callable[[Path, random.Random, Path], Path]
"""Changes something in a project by chance, with another key at hand; returns the file."""


def changes() -> dict[str, Change]:
    """Return every kind of single change, by name."""
    return {
        "a byte": a_byte,
        "a number": a_number,
        "a row removed": a_row_removed,
        "a row added": a_row_added,
        "a file removed": a_file_removed,
        "a file added": a_file_added,
        "a cut archive": a_cut_archive,
        "a bundle of another scenario": another_scenario,
        "another key": another_key,
        "a figure inside": a_figure_inside,
        "a file inside": a_file_inside,
    }


def a_byte(project: Path, chance: random.Random, _key: Path) -> Path:
    path = chance.choice(_files(project))
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    path.write_bytes(content)
    return path


def a_number(project: Path, chance: random.Random, _key: Path) -> Path:
    path = chance.choice([each for each in _texts(project) if each.suffix != ".jsonl"])
    text = path.read_text(encoding="utf-8")
    found = chance.choice([*re.finditer(r"\d", text)])
    digit = chance.choice([each for each in "0123456789" if each != found.group()])
    path.write_text(text[: found.start()] + digit + text[found.end() :], encoding="utf-8")
    return path


def a_row_removed(project: Path, chance: random.Random, _key: Path) -> Path:
    path = chance.choice(_texts(project))
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    del lines[chance.randrange(len(lines))]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def a_row_added(project: Path, chance: random.Random, _key: Path) -> Path:
    path = chance.choice(_texts(project))
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    lines.insert(chance.randrange(len(lines) + 1), chance.choice(lines))
    path.write_text("".join(lines), encoding="utf-8")
    return path


def a_file_removed(project: Path, chance: random.Random, _key: Path) -> Path:
    path = chance.choice(_files(project))
    path.unlink()
    return path


def a_file_added(project: Path, chance: random.Random, _key: Path) -> Path:
    beside = chance.choice(_files(project))
    path = beside.with_name(f"{chance.choice(('cpu.more', 'spark', 'notes'))}{beside.suffix}")
    shutil.copyfile(beside, path)
    return path


def a_cut_archive(project: Path, chance: random.Random, _key: Path) -> Path:
    path = chance.choice(_archives(project))
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])
    return path


def another_scenario(project: Path, chance: random.Random, _key: Path) -> Path:
    """Put one scenario's bundle, in part or whole, into the place of another's."""
    one, other = chance.sample(_archives(project), 2)
    names = chance.choice(((ARCHIVE_FILE,), (STATEMENT_FILE,), (ARCHIVE_FILE, STATEMENT_FILE)))
    for name in names:
        shutil.copyfile(other.with_name(name), one.with_name(name))
    return one.with_name(names[0])


def another_key(project: Path, chance: random.Random, key: Path) -> Path:
    """Sign with a key that nobody is allowed to sign with, or as if the allowed one had."""
    path = project / "results" / NAME / "cpu" / STATEMENT_FILE
    envelope = read_envelope(path)
    allowed = envelope.signatures[0].key
    forged = sign(envelope.signed_bytes, key)
    name = allowed if chance.random() < 0.5 else _fingerprint(key)
    signed = Envelope(payload=envelope.payload, signatures=(Signature(key=name, blob=forged),))
    path.write_bytes(signed.line)
    return path


def a_figure_inside(project: Path, chance: random.Random, _key: Path) -> Path:
    """Change a measurement inside an unsigned bundle, and all digests with it."""

    def change(folder: Path) -> None:
        path = chance.choice(sorted(folder.rglob("measurements.json")))
        documents = json.loads(path.read_text(encoding="utf-8"))
        numbers = [each for each in documents if isinstance(each["value"], float)]
        chance.choice(numbers)["value"] *= 1 + 10 ** -chance.uniform(0, 6)
        path.write_text(json.dumps(documents), encoding="utf-8")

    return repacked(project / "results" / OTHER / "cpu", change)


def a_file_inside(project: Path, chance: random.Random, _key: Path) -> Path:
    """Remove, add or change a file inside an unsigned bundle, and all digests with it."""

    def change(folder: Path) -> None:
        path = chance.choice(sorted(folder.rglob(f"{OTHER}/cpu/*/*.json*")))
        match chance.randrange(3):
            case 0:
                path.unlink()
            case 1:
                shutil.copyfile(path, path.with_name("more.json"))
            case _:
                path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])

    return repacked(project / "results" / OTHER / "cpu", change)


def repacked(bundle: Path, change: Callable[[Path], None]) -> Path:
    """Change what is in a bundle, with manifest, archive and statement written to fit."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        unpack(bundle / ARCHIVE_FILE, folder)
        change(folder)
        (folder / MANIFEST_FILE).unlink()
        files = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.is_file()
        }
        digests = {path: sha256(file) for path, file in files.items()}
        pack({**files, MANIFEST_FILE: manifest(digests)}, bundle / ARCHIVE_FILE)
    rewrite(bundle, {})
    return bundle / ARCHIVE_FILE


def rewrite(bundle: Path, predicate: dict[str, object]) -> None:
    """Write an unsigned statement that fits the archive, with changes of its predicate."""
    path = bundle / STATEMENT_FILE
    document = json.loads(read_envelope(path).payload)
    document["subject"][0]["digest"]["sha256"] = sha256(bundle / ARCHIVE_FILE)
    document["predicate"].update(predicate)
    payload = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    path.write_bytes(Envelope(payload=payload.encode()).line)


def _fingerprint(key: Path) -> str:
    command = ["ssh-keygen", "-l", "-f", str(key.with_suffix(".pub"))]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return said.split()[1]


def _files(project: Path) -> list[Path]:
    """Return what is published, but for the list of signers, which verify is given."""
    return sorted(path for path in (project / "results").glob("a9*/**/*") if path.is_file())


def _texts(project: Path) -> list[Path]:
    return [path for path in _files(project) if path.suffix != ".gz"]


def _archives(project: Path) -> list[Path]:
    return [path for path in _files(project) if path.suffix == ".gz"]
