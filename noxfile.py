"""Every task of the project, one session each: ``nox -l`` lists them.

Sessions share environments under ``.nox/env-*``, each installed with hashes from a lock in
``requirements/`` or ``tests/bench/requirements/``. Scenario sessions are found by reading the first
lines of each ``scenario.yaml``; the harness itself is not imported here.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nox

ROOT = Path(__file__).parent
REQUIREMENTS = ROOT / "requirements"
BENCH_REQUIREMENTS = ROOT / "tests" / "bench" / "requirements"
COULD_NOT_RUN = 3  # the harness's exit code where the machine or a run broke
HAS_GPU = Path("/dev/nvidiactl").exists()
# PyTorch is installed before a lock, as one version has many builds; those for CUDA bring triton
TORCH_BUILDS = ("torch", "triton")
TORCH_LOCK = REQUIREMENTS / f"torch-{'gpu' if HAS_GPU else 'cpu'}.txt"
WITH_TORCH = ("torch-gpu", "rl-gpu")  # the locks that hold them; torch-cpu.txt is kept by hand
# vLLM asks for these, but serves text without; one that does not match PyTorch's build does harm
NOT_LOCKED = ("torchaudio", "torchcodec", "torchvision")

IMAGE_PYTHON = {"cpu": "3.11", "curator": "3.12", "rl": "3.12"}  # of containers with a lock

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = True


# --- environments ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Packages in ``.nox/env-NAME``."""

    lock: Path
    over: str | None = None
    """The environment whose packages this one sees too; only what that one lacks is installed."""
    torch: bool = False
    """Whether PyTorch, in the build for this machine, is installed before the lock."""
    project: bool = False
    """Whether the harness is installed, so that its `bin/harness` runs from any folder."""
    python: str | None = None
    """The version of Python that some of its packages need; without it here, nox's own is taken."""


def _environments(*, has_gpu: bool) -> dict[str, Environment]:
    base = REQUIREMENTS / "base.txt"
    rl = REQUIREMENTS / ("rl-gpu.txt" if has_gpu else "rl.txt")
    of_users = {
        "base": Environment(lock=base, project=True),
        "torch": Environment(lock=base, torch=True, project=True),
        "megatron": Environment(lock=REQUIREMENTS / "megatron.txt", over="torch", project=True),
        "nemo": Environment(lock=REQUIREMENTS / "nemo.txt", torch=True, project=True),
        "rl": Environment(lock=rl, torch=not has_gpu, project=True),
        "ray": Environment(lock=REQUIREMENTS / "ray.txt", over="torch", project=True),
    }
    tests = REQUIREMENTS / "tests.txt"
    for_tests = {
        "tools": Environment(lock=REQUIREMENTS / "tools.txt"),
        "tests": Environment(lock=tests, over="torch"),
        "browser": Environment(lock=REQUIREMENTS / "browser.txt", over="tests"),
        "fieldkit": Environment(lock=BENCH_REQUIREMENTS / "fieldkit.txt", over="tests"),
        "curator": Environment(lock=BENCH_REQUIREMENTS / "curator.txt", torch=True),
        "regression": Environment(lock=BENCH_REQUIREMENTS / "regression.txt"),
        "crate": Environment(lock=BENCH_REQUIREMENTS / "crate.txt"),
        "exports": Environment(lock=REQUIREMENTS / "exports.txt", python="3.12"),
        "verifiers": Environment(lock=REQUIREMENTS / "verifiers.txt"),
        "reframe": Environment(lock=BENCH_REQUIREMENTS / "reframe.txt"),
        "trl": Environment(lock=BENCH_REQUIREMENTS / "trl.txt", torch=True),
    }
    layers = {
        f"{name}-tests": Environment(lock=tests, over=name)
        for name in ("curator", "megatron", "nemo", "ray", "rl")
    }
    return {**of_users, **for_tests, **layers}


ENVIRONMENTS = _environments(has_gpu=HAS_GPU)
STAMP = "made-from.json"  # written last and removed first: without it, an environment is not whole
PROJECT = "the project's metadata"
_TELL_S = 10.0
_FETCHED = re.compile(r"\s*Downloading (\S+?)(?:\.metadata)? (\(.+\))")
_fetching: dict[str, str] = {}  # what pip is at, under "now"
_held: dict[Path, int] = {}  # environment -> its lock file, open until this call of nox ends


def environment(session: nox.Session, name: str) -> str:
    """Return the Python of the shared environment `name`; make it again where anything changed.

    Until this call of nox ends, no other one makes the environment again.
    """
    if over := ENVIRONMENTS[name].over:
        environment(session, over)
    folder = _folder(name)
    wanted = _wanted(name)
    _hold(session, folder, fcntl.LOCK_SH)
    while _changed(folder, wanted):
        _hold(session, folder, fcntl.LOCK_EX)
        if changed := _changed(folder, wanted):  # unless another call has made it meanwhile
            why = "" if changed == [*wanted] else f": {', '.join(changed)} changed"
            by = " with uv" if _uv() else ""
            session.log(f"making {folder.relative_to(ROOT)}{by}{why}")
            with _told(session, name):
                _make(session, name, wanted, changed)
        _hold(session, folder, fcntl.LOCK_SH)
    return str(folder / "bin" / "python")


def _folder(name: str) -> Path:
    return ROOT / ".nox" / f"env-{name}"


def _hold(session: nox.Session, folder: Path, kind: int) -> None:
    """Lock an environment: shared to use it, exclusive to make it; a second call changes that."""
    folder.parent.mkdir(exist_ok=True)
    if folder not in _held:
        _held[folder] = os.open(folder.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(_held[folder], kind | fcntl.LOCK_NB)
    except BlockingIOError:
        other = "makes" if kind == fcntl.LOCK_SH else "uses"
        session.log(f"waiting for another call of nox, which {other} {folder.relative_to(ROOT)}")
        fcntl.flock(_held[folder], kind)


def _wanted(name: str) -> dict[str, str]:
    """Return all that an environment depends on, in words that name what changed."""
    env = ENVIRONMENTS[name]
    # the one below a virtual environment, as that may be removed while this stays
    interpreter = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    wanted = {
        "the lock": _digest(env.lock.read_bytes()),
        "the interpreter": _other_python(env.python)
        or f"{interpreter} {platform.python_version()} {sysconfig.get_config_var('SOABI')}",
        "the folder": str(_folder(name)),
        "the recipe in noxfile.py": _digest("".join(map(inspect.getsource, RECIPE)).encode()),
    }
    if env.torch:
        wanted["PyTorch"] = f"{TORCH_LOCK.stem} {_digest(TORCH_LOCK.read_bytes())}"
    if env.over:
        below = {fact: value for fact, value in _wanted(env.over).items() if fact != PROJECT}
        wanted["the environment below"] = _digest(json.dumps(below).encode())
    if env.project:
        wanted[PROJECT] = _project_digest()
    return wanted


def _other_python(version: str | None) -> str | None:
    """Return the program of a version of Python, where it is not nox's own and works here."""
    if version is None or platform.python_version().startswith(f"{version}."):
        return None
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    on_path = shutil.which(f"python{version}")
    of_pyenv = pyenv.glob(f"versions/{version}.*/bin/python")
    for program in [*([on_path] if on_path else []), *map(str, of_pyenv)]:
        # one of pyenv on the path fails unless its version is the chosen one
        asked = subprocess.run([program, "-c", ""], check=False, capture_output=True)
        if asked.returncode == 0:
            return str(Path(program).resolve())
    return None


def _project_digest() -> str:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    metadata = json.dumps([pyproject["build-system"], pyproject["project"]])
    return _digest(metadata.encode() + (ROOT / "harness" / "__init__.py").read_bytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _changed(folder: Path, wanted: dict[str, str]) -> list[str]:
    """Return what differs from when the environment was made; everything, where it is not whole."""
    try:
        made = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # never made, or not to its end
        return [*wanted]
    if not (folder / "bin" / "python").exists():  # the interpreter that it links to is gone
        return [*wanted]
    return [fact for fact in {**made, **wanted} if made.get(fact) != wanted.get(fact)]


def _make(session: nox.Session, name: str, wanted: dict[str, str], changed: list[str]) -> None:
    """Make an environment, or install the project into it again where only that changed."""
    env, folder = ENVIRONMENTS[name], _folder(name)
    python = str(folder / "bin" / "python")
    (folder / STAMP).unlink(missing_ok=True)
    if changed != [PROJECT]:
        own = _other_python(env.python) or sys.executable
        _run(session, own, "-m", "venv", "--clear", str(folder))
        if env.over:
            # the setuptools that venv brings up to Python 3.11 would hide that of the lock below
            _run(session, python, "-m", "pip", "-qq", "uninstall", "--yes", "setuptools")
            _see(env.over, folder)
        if env.torch:
            _install_torch(session, python)
        _install_lock(session, python, _lock_above(env, folder) if env.over else env.lock)
    if env.project:
        _install_project(session, python)
    if env.over:
        _link_programs(env.over, folder)
    partial = folder / f"{STAMP}.partial"
    partial.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / STAMP)


@contextmanager
def _told(session: nox.Session, name: str) -> Iterator[None]:
    """Say every ten seconds what has been fetched and installed; uv and pip are silent."""
    done, began, before = threading.Event(), time.monotonic(), _received_bytes()

    def tell() -> None:
        while not done.wait(_TELL_S):
            session.log(_said(name, time.monotonic() - began, _received_bytes() - before))

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _said(name: str, took_s: float, fetched_bytes: int) -> str:
    """Return how the making of an environment gets on."""
    env = ENVIRONMENTS[name]
    total = len(_pins(env.lock)) + env.torch
    installed = len(list(_folder(name).glob("lib/python*/site-packages/*.dist-info")))
    fetched = f"{fetched_bytes / 1e6:.0f} MB fetched, " if fetched_bytes else ""
    now = f"; now {_fetching['now']}" if "now" in _fetching else ""
    of = f"{installed} of about {total} packages installed"
    return f"env-{name}: {took_s:.0f} s, {fetched}{of}{now}"


def _received_bytes() -> int:
    """Return what this machine has received over its networks; 0 where it does not say."""
    try:
        lines = Path("/proc/net/dev").read_text(encoding="ascii").splitlines()[2:]
    except OSError:
        return 0
    columns = (line.partition(":") for line in lines)
    return sum(int(rest.split()[0]) for name, _, rest in columns if name.strip() != "lo")


def _see(over: str, folder: Path) -> None:
    """Let an environment see the packages of another one, as `uv run --with` does."""
    line = f"import site; site.addsitedir({str(_site_packages(_folder(over)))!r})\n"
    (_site_packages(folder) / "_over.pth").write_text(line, encoding="utf-8")


def _link_programs(over: str, folder: Path) -> None:
    """Put the programs of another environment beside the interpreter: packages look there."""
    for program in (_folder(over) / "bin").iterdir():
        link = folder / "bin" / program.name
        if not link.exists():
            link.symlink_to(program)


def _site_packages(folder: Path) -> Path:
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))


def _lock_above(env: Environment, folder: Path) -> Path:
    """Write the part of a lock that the environments below do not hold: none of it hides theirs."""
    below: set[str] = set()
    over = env.over
    while over:
        below |= {name for name, _ in _pins(ENVIRONMENTS[over].lock)}
        over = ENVIRONMENTS[over].over
    path = folder / "lock.txt"
    path.write_text("".join(text for name, text in _pins(env.lock) if name not in below))
    return path


def _pins(lock: Path) -> list[tuple[str, str]]:
    """Return each package of a lock, with its lines."""
    entries = re.split(r"^(?=\w)", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [(entry.partition("==")[0], entry) for entry in entries if "==" in entry]


_BY_HASH = ("--no-deps", "--require-hashes", "--requirement")


def _install_lock(session: nox.Session, python: str, lock: Path) -> None:
    _pip(session, python, *_BY_HASH, str(lock))


def _install_torch(session: nox.Session, python: str) -> None:
    """Install PyTorch, by its hash: the CPU build where that will do, as CUDA's is gigabytes.

    pip takes a CPU build that this machine is set up to offer; else uv knows where PyTorch
    publishes it.
    """
    if HAS_GPU:
        _install_lock(session, python, TORCH_LOCK)
        return
    if _pip_can(python, TORCH_LOCK):
        return
    _install_lock(session, python, REQUIREMENTS / "uv.txt")
    _run(
        *(session, python, "-m", "uv", "pip", "install", "--python", python),
        *("--torch-backend=cpu", *_BY_HASH, str(TORCH_LOCK)),
    )


def _pip_can(python: str, lock: Path) -> bool:
    command = [python, "-m", "pip", "install", "--quiet", *_BY_HASH, str(lock)]
    return not subprocess.run(
        command, check=False, stderr=subprocess.DEVNULL, pass_fds=[*_held.values()]
    ).returncode


def _install_project(session: nox.Session, python: str) -> None:
    """Install the harness as it lies here, with the setuptools of the lock and no network."""
    _pip(session, python, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))


def _pip(session: nox.Session, python: str, *arguments: str) -> None:
    """Install into an environment: by uv where it is there, as it is several times as fast.

    Both check the hashes of a lock. What uv cannot install here, pip is asked for. What pip fetches
    is kept for `_told`, as its own lines are many; uv tells only a terminal of it.
    """
    if uv := _uv():
        command = [uv, "pip", "install", "--quiet", "--python", python, *arguments]
        settings = {**os.environ, **_uv_settings()}
        done = subprocess.run(command, check=False, env=settings, pass_fds=[*_held.values()])
        if not done.returncode:
            return
    command = [python, "-m", "pip", "install", "--progress-bar", "off", *arguments]
    _run(session, *command, heard=_hear)
    _fetching.clear()


def _uv() -> str | None:
    """Return the uv of this machine, or else that of the environment `tools`, where it is made."""
    ours = _folder("tools") / "bin" / "uv"
    return shutil.which("uv") or (str(ours) if ours.is_file() else None)


def _uv_settings() -> dict[str, str]:
    """Return how this machine's pip finds packages, as variables of uv; what uv is told stays.

    Variables, and not arguments: an address may hold a password.
    """
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=False, capture_output=True, text=True
    ).stdout
    told = {}
    for line in listed.splitlines():  # such as: global.extra-index-url='https://...'
        key, _, value = line.partition("=")
        told[key.rpartition(".")[2]] = value.strip("'").replace("\\n", " ").strip()
    # one package may be at several places; which of them is no matter, as its hash is locked
    settings = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    for of_pip, of_uv in (
        ("index-url", "UV_DEFAULT_INDEX"),
        ("extra-index-url", "UV_INDEX"),
        ("find-links", "UV_FIND_LINKS"),
        ("cert", "SSL_CERT_FILE"),
    ):
        if told.get(of_pip):
            settings[of_uv] = told[of_pip]
    return {key: value for key, value in settings.items() if key not in os.environ}


def _hear(line: str) -> None:
    """Take note of what a line of pip says that it is at."""
    if found := _FETCHED.match(line):
        _fetching["now"] = " ".join(found.groups())
    elif line.startswith("Installing"):
        _fetching["now"] = "installing all"


def _run(session: nox.Session, *command: str, heard: Callable[[str], None] | None = None) -> None:
    """Run a command that holds the locks as long as it lives, also where nox is killed before.

    Its lines of standard output go to `heard`, where that is given.
    """
    output = subprocess.PIPE if heard else None
    with subprocess.Popen(
        command, stdout=output, encoding="utf-8", errors="replace", pass_fds=[*_held.values()]
    ) as process:
        for line in process.stdout or ():
            assert heard is not None
            heard(line)
    if code := process.returncode:
        session.error(f"{shlex.join(command)} ended with exit code {code}")


# a change of any of these makes every environment again
RECIPE: tuple[Callable[..., object], ...] = (
    _make,
    _see,
    _link_programs,
    _lock_above,
    _pins,
    _install_lock,
    _install_torch,
    _pip_can,
    _install_project,
)


def harness(session: nox.Session, python: str, *arguments: str) -> None:
    """Run a command of the harness in an environment."""
    session.run(python, "-m", "harness", *arguments, external=True)


# --- scenarios ------------------------------------------------------------------------------------


def _head(scenario: Path, key: str, default: str) -> str:
    text = scenario.read_text(encoding="utf-8", errors="replace")
    found = re.search(rf"^{key}: (.+)$", text, re.MULTILINE)
    return found.group(1).strip().strip("\"'") if found else default


def _add_scenario(scenario: Path) -> None:
    name = scenario.parent.name

    def reproduce(session: nox.Session) -> None:
        python = environment(session, _head(scenario, "environment", "base"))
        harness(session, python, "run", name, "--with-evidence", *session.posargs)

    reproduce.__doc__ = f"Reproduce: {_head(scenario, 'title', name)}."
    short = name.partition("-")[0]
    nox.session(name=f"reproduce-{short}", venv_backend="none", default=False)(reproduce)

    def regress(session: nox.Session) -> None:
        python = environment(session, _head(scenario, "environment", "base"))
        command = [python, "-m", "harness", "regress", name, *session.posargs]
        # 4: suspected or inconclusive, which the summary says and nobody is woken for
        session.run(*command, external=True, success_codes=[0, 4])

    regress.__doc__ = f"Tell a regression from a slow night: {_head(scenario, 'title', name)}."
    nox.session(name=f"regress-{short}", venv_backend="none", default=False)(regress)


SCENARIOS = sorted((ROOT / "scenarios").glob("*/scenario.yaml"))
for _scenario in SCENARIOS:
    _add_scenario(_scenario)


@nox.session(venv_backend="none", default=False)
def reproduce(session: nox.Session) -> None:
    """Reproduce every scenario that this machine can run."""
    failed: list[str] = []
    not_here: list[str] = []
    for scenario in SCENARIOS:
        python = environment(session, _head(scenario, "environment", "base"))
        name = scenario.parent.name
        command = [python, "-m", "harness", "run", name, "--with-evidence", *session.posargs]
        code = subprocess.run(command, check=False).returncode
        if code:
            (not_here if code == COULD_NOT_RUN else failed).append(name)
    outcomes = (("not reproduced", failed), ("could not run here", not_here))
    if failed or not_here:
        said = (f"{outcome}: {', '.join(names)}" for outcome, names in outcomes if names)
        session.error("; ".join(said))


# --- checks ---------------------------------------------------------------------------------------


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Check style, formatting and import directions."""
    python = environment(session, "tools")
    session.run(python, "-m", "ruff", "check", ".", external=True)
    session.run(python, "-m", "ruff", "format", "--check", ".", external=True)
    session.run(str(Path(python).with_name("lint-imports")), external=True)


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Check types, tests and this file included."""
    python = environment(session, "tests")
    session.run(python, "-m", "mypy", external=True)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the tests that need nothing but Python."""
    # two for each core: much of its time a test waits for a process, a limit or the disk
    workers = 2 * (os.cpu_count() or 1)
    default = [f"--numprocesses={workers}", "--dist=worksteal", "tests"]
    _pytest(session, *(session.posargs or default))


@nox.session(venv_backend="none", default=False)
def containers(session: nox.Session) -> None:
    """Run the tests that need a Docker engine; .ci/engine starts one where there is none."""
    needed = ("--run-docker", "-m", "docker")  # the session `tests` runs the others
    _pytest(session, *needed, "tests/contract", "tests/container", *session.posargs)


@nox.session(venv_backend="none", default=False)
def serving(session: nox.Session) -> None:
    """Run the tests of vLLM beside a run, on Linux: its CPU build where there is no GPU."""
    _pytest(session, "--run-serving", "tests/serving", *session.posargs, within="rl-tests")


@nox.session(venv_backend="none", default=False)
def rl(session: nox.Session) -> None:
    """Run the tests that need transformers and peft; they skip in the default session."""
    default = ["--numprocesses=auto", "--dist=loadfile", "tests/rl"]
    # the part of tests/spark that is skipped in the session `tests`
    in_peft = ("bridge", "data_path", "searches", "trained_policies")
    default += [f"tests/spark/test_{name}.py" for name in in_peft]
    _pytest(session, *(session.posargs or default), within="rl-tests")


@nox.session(venv_backend="none", default=False)
def coverage(session: nox.Session) -> None:
    """Name each line of a workload that no test executes, and that needs no GPU: an hour."""
    data = ROOT / "build" / "coverage"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    env = {"OMP_NUM_THREADS": "1"}
    for within, words in (
        ("rl-tests", ["--run-slow", "tests/rl", "tests/spark", "tests/unit"]),
        ("rl-tests", ["tests/contract/test_evaluator.py", "tests/contract/test_service.py"]),
        ("rl-tests", ["--run-slow", "--run-serving", "tests/serving"]),
        ("megatron-tests", ["tests/unit/models", "tests/spark/test_pretraining.py"]),
        ("nemo-tests", ["tests/unit/cpt"]),
        ("curator-tests", ["tests/curator", "tests/spark/test_data_path.py"]),
    ):
        command = [environment(session, within), "-m", "coverage", "run", "-m", "pytest", *words]
        session.run(*command, env=env, external=True)
    python = environment(session, "rl-tests")
    session.run(python, "-m", "coverage", "combine", external=True)
    session.run(python, "-m", "tests.spark.unexecuted", external=True)


@nox.session(venv_backend="none", default=False)
def cluster(session: nox.Session) -> None:
    """Run two articles on two local nodes of Ray, one of which is killed on the way.

    With `-- tests/cluster --run-slow` also thirty random kills.
    """
    _pytest(session, *(session.posargs or ["tests/cluster"]), within="ray-tests")


@nox.session(venv_backend="none", default=False)
def megatron(session: nox.Session) -> None:
    """Run the tests that need Megatron-Core; they skip in the default session."""
    default = [
        "tests/unit/models/test_megatron.py",
        "tests/spark/test_pretraining.py::test_article_18",
    ]
    _pytest(session, *(session.posargs or default), within="megatron-tests")


@nox.session(venv_backend="none", default=False)
def fieldkit(session: nox.Session) -> None:
    """Run the tests of the record of trials beside the author's own library."""
    default = ["tests/unit/trials/test_fieldkit.py"]
    _pytest(session, *(session.posargs or default), within="fieldkit")


@nox.session(venv_backend="none", default=False)
def crate(session: nox.Session) -> None:
    """Validate a published bundle as an RO-Crate, by the validator of the format's makers."""
    env = {"HARNESS_CRATE_PYTHON": environment(session, "crate")}
    python = environment(session, "tests")
    words = session.posargs or ["tests/contract/test_crate.py"]
    session.run(python, "-m", "pytest", *words, env=env, external=True)


@nox.session(venv_backend="none", default=False)
def nemo(session: nox.Session) -> None:
    """Run the test of NeMo's experiment manager around the small GPT."""
    default = ["tests/unit/cpt/test_nemo_trainer.py"]
    _pytest(session, *(session.posargs or default), within="nemo-tests")


@nox.session(venv_backend="none", default=False)
def curator(session: nox.Session) -> None:
    """Hold our cleaning beside NeMo Curator's: the same documents kept, and how fast."""
    default = [
        "tests/curator",
        "tests/spark/test_data_path.py",
        "tests/unit/data",
        "tests/unit/a20",
    ]
    _pytest(session, *(session.posargs or default), within="curator-tests")
    session.run(environment(session, "curator"), "-m", "tests.bench.curator", external=True)


@nox.session(venv_backend="none", default=False)
def exports(session: nox.Session) -> None:
    """Open every export with its tool's own program, or check it by its owner's schema."""
    _pytest(session, *(session.posargs or ["tests/exports"]), within="exports")
    if not session.posargs:
        _pytest(session, "tests/exports/test_verifiers.py", within="verifiers")


@nox.session(venv_backend="none", default=False)
def aarch64(session: nox.Session) -> None:
    """Run the program on aarch64, emulated: needs qemu-user-static, mmdebstrap and Linux 6.7."""
    _pytest(session, *(session.posargs or ["--run-slow", "tests/aarch64"]))


@nox.session(venv_backend="none", default=False)
def gpu(session: nox.Session) -> None:
    """Run the tests that need an NVIDIA GPU."""
    _pytest(session, "--run-gpu", "tests/gpu", *session.posargs)


def _pytest(session: nox.Session, *arguments: str, within: str = "tests") -> None:
    python = environment(session, within)
    env = {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "PYTHONDONTWRITEBYTECODE": "",  # or each worker compiles what it and pytest rewrite anew
    }
    session.run(python, "-m", "pytest", *arguments, env=env, external=True)


@nox.session(venv_backend="none", default=False)
def tables(session: nox.Session) -> None:
    """Render every published table again and compare it byte for byte."""
    python = environment(session, "base")
    harness(session, python, "publish", "--all", "--stale")


@nox.session(venv_backend="none", default=False)
def site(session: nox.Session) -> None:
    """Build build/site from what is published, and test it in this machine's Chromium or Chrome."""
    out = str(ROOT / "build" / "site")
    harness(session, environment(session, "base"), "site", "--out", out, *session.posargs)
    _pytest(session, "--site", out, "tests/browser", within="browser")


@nox.session(venv_backend="none", default=False)
def mutants(session: nox.Session) -> None:
    """Plant each fault of a catalogue in a copy, and ask tests, pins and claims who notices."""
    python = environment(session, "rl-tests")
    session.run(python, "-m", "tests.mutants", *session.posargs, external=True)


@nox.session(venv_backend="none", default=False)
def bench(session: nox.Session) -> None:
    """Measure what the harness itself costs, beside ReFrame in its own environment.

    With `-- --against HEAD~N` a commit in its place: which figure changed, with its interval.
    """
    python = environment(session, "tests")
    if "--against" in session.posargs:
        session.run(python, "-m", "tests.bench", *session.posargs, external=True)
        return
    reframe = Path(environment(session, "reframe")).with_name("reframe")
    command = [python, "-m", "tests.bench", "--reframe", str(reframe)]
    session.run(*command, *session.posargs, external=True)


@nox.session(name="bench-regression", venv_backend="none", default=False)
def bench_regression(session: nox.Session) -> None:
    """Replay a thousand histories of each noise, beside Otava, asv and ruptures.

    Words after `--` must name a real machine's telemetry: `-- --telemetry gb10/telemetry.csv`.
    """
    python = environment(session, "tests")
    command = [python, "-m", "tests.bench.replay", "--peers", environment(session, "regression")]
    session.run(*command, *session.posargs, external=True)


def _bench(session: nox.Session, program: str, within: str) -> None:
    """Run a program of `tests.bench` on one thread, unless the machine says otherwise."""
    python = environment(session, within)
    env = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    command = [python, "-m", f"tests.bench.{program}"]
    session.run(*command, *session.posargs, env=env, external=True)


@nox.session(name="bench-forecast", venv_backend="none", default=False)
def bench_forecast(session: nox.Session) -> None:
    """Rehearse cheap scenarios and run them: what was forecast beside what came."""
    _bench(session, "forecast", within="torch")


@nox.session(name="bench-cluster", venv_backend="none", default=False)
def bench_cluster(session: nox.Session) -> None:
    """Measure what two local nodes of Ray give, cost and survive, and a driver of 64 nodes.

    Words after `--` name what is measured: speedup, overhead, kills, simulation.
    """
    python = environment(session, "ray-tests")
    session.run(python, "-m", "tests.bench.cluster", *session.posargs, external=True)


@nox.session(name="bench-serving", venv_backend="none", default=False)
def bench_serving(session: nox.Session) -> None:
    """Measure what an engine costs beside its vLLM: refreshes, and tokens for 16 clients."""
    _bench(session, "serving", within="rl")


@nox.session(name="bench-rl", venv_backend="none", default=False)
def bench_rl(session: nox.Session) -> None:
    """Measure a GRPO step beside TRL's, in its own environment."""
    python, trl = environment(session, "rl"), environment(session, "trl")
    session.run(python, "-m", "tests.bench.grpo", "--trl", trl, *session.posargs, external=True)


@nox.session(name="bench-pretrain", venv_backend="none", default=False)
def bench_pretrain(session: nox.Session) -> None:
    """Measure the data path and the training loop, beside a plain loop and HF's Trainer."""
    _bench(session, "pretrain", within="rl")


@nox.session(venv_backend="none", default=False)
def evidence(session: nox.Session) -> None:
    """Fetch the published raw data of every scenario into the cache, for the tests that read it."""
    python = environment(session, "base")
    for scenario in SCENARIOS:
        # a file that is derived from published ones has no address: its tests skip without it
        session.run(
            *(python, "-m", "harness", "fetch", scenario.parent.name),
            success_codes=[0, COULD_NOT_RUN],
            external=True,
        )


@nox.session(venv_backend="none", default=False)
def hooks(session: nox.Session) -> None:
    """Install the git hooks of .pre-commit-config.yaml, which run what `lint` runs."""
    python = environment(session, "tools")
    session.run(python, "-m", "pre_commit", "install", external=True)


# --- what changes files ---------------------------------------------------------------------------


@nox.session(venv_backend="none", default=False)
def schema(session: nox.Session) -> None:
    """Export the JSON Schemas of scenario.yaml and expectations.yaml for editors."""
    python = environment(session, "base")
    for name in ("scenario", "expectations", "output"):
        command = [python, "-m", "harness", "validate", "--schema", name]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        (ROOT / "docs" / "schema" / f"{name}.json").write_text(text, encoding="utf-8")


@nox.session(venv_backend="none", default=False)
def update_images(session: nox.Session) -> None:
    """Look the base images' digests up and record them in the lock."""
    python = environment(session, "base")
    harness(session, python, "build", "--resolve", *(session.posargs or ["--all"]))


@nox.session(venv_backend="none", default=False)
def update_requirements(session: nox.Session) -> None:
    """Resolve the requirements again, with hashes for every platform.

    Words after `--` go to uv in the place of `--upgrade`: `--no-upgrade` adds what is new in an
    ``.in`` file and leaves every other version.
    """
    python = environment(session, "tools")
    overrides = Path(session.create_tmp()) / "overrides.txt"

    def compiled(source: Path, *arguments: str) -> None:
        session.run(
            *(python, "-m", "uv", "pip", "compile", "--quiet"),
            *(session.posargs or ["--upgrade"]),
            *("--generate-hashes", "--no-header", "--no-annotate", *arguments),
            *(str(source), "--output-file", str(source.with_suffix(".txt"))),
            external=True,
        )

    for folder in (REQUIREMENTS, BENCH_REQUIREMENTS):
        for source in sorted(folder.glob("*.in")):
            left_out = NOT_LOCKED if source.stem in WITH_TORCH else (*TORCH_BUILDS, *NOT_LOCKED)
            overrides.write_text(
                "".join(f"{name} ; sys_platform == 'never'\n" for name in left_out)
            )
            compiled(
                *(source, "--universal", "--python-version=3.11", f"--override={overrides}"),
                *(f"--no-emit-package={name}" for name in left_out),
            )
    for source in sorted((ROOT / "containers").glob("*/*.in")):  # each lists all that it installs
        version = IMAGE_PYTHON[source.parent.name]
        compiled(source, "--no-deps", f"--python-version={version}", "--python-platform=linux")
