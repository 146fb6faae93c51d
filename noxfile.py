"""Every task of the project, one session each: ``nox -l`` lists them.

Sessions share environments under ``.nox/env-*``, each installed from a lock in ``requirements/``
with hashes and made anew only when its lock changes. Scenario sessions are found by reading the
first lines of each ``scenario.yaml``; the harness itself is not imported here.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
REQUIREMENTS = ROOT / "requirements"
COULD_NOT_RUN = 3  # the harness's exit code where the machine or a run broke
HAS_GPU = Path("/dev/nvidiactl").exists()
TORCH = "2.13.0"
# PyTorch is installed before a lock, as one version has many builds; those for CUDA bring triton
TORCH_BUILDS = ("torch", "triton")
NEED_TORCH = ("torch", "tests", "curator", "megatron", "nemo", "rl", "trl")  # environments
WITH_TORCH = "rl-gpu"  # the one lock that holds them: vLLM for a GPU fits only one build
# vLLM asks for these, but serves text without; one that does not match PyTorch's build does harm
NOT_LOCKED = ("torchaudio", "torchcodec", "torchvision")

nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = True


# --- environments ---------------------------------------------------------------------------------


def environment(session: nox.Session, name: str) -> str:
    """Return the Python of the shared environment `name`, installing it where its lock changed."""
    parts = _parts(name)
    locks = [REQUIREMENTS / f"{part}.txt" for part in parts]
    wanted = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    folder = ROOT / ".nox" / f"env-{name}"
    python, stamp = folder / "bin" / "python", folder / "installed-from"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return str(python)
    session.run(sys.executable, "-m", "venv", "--clear", str(folder), external=True)
    if name in NEED_TORCH and WITH_TORCH not in parts:
        _install_torch(session, str(python), cpu=not HAS_GPU)
    files = [argument for lock in locks for argument in ("--requirement", str(lock))]
    _pip(session, str(python), "install", "--no-deps", "--require-hashes", *files)
    stamp.write_text(wanted, encoding="utf-8")
    return str(python)


def _parts(name: str) -> list[str]:
    """Return the locks that make up an environment."""
    # the tests of Megatron-Core run where its scenario does: one gigabyte serves both
    tests = ["base", "tests"]
    beside_tests = {name: [*tests, name] for name in ("fieldkit", "megatron")}
    rl = [WITH_TORCH if HAS_GPU else "rl"]
    parts = {"torch": ["base"], "tests": tests, "rl": rl, **beside_tests}
    return parts.get(name, [name])


def _install_torch(session: nox.Session, python: str, *, cpu: bool) -> None:
    """Install PyTorch: the CPU build where that will do, as the CUDA one is gigabytes.

    pip takes a CPU wheel that this machine is set up to offer; else uv knows where PyTorch
    publishes its builds.
    """
    if cpu and _pip_can(python, f"torch=={TORCH}+cpu"):
        return
    lock = str(REQUIREMENTS / "uv.txt")
    _pip(session, python, "install", "--require-hashes", "--requirement", lock)
    backend = "cpu" if cpu else "auto"
    session.run(
        *(python, "-m", "uv", "pip", "install", "--python", python),
        *(f"--torch-backend={backend}", f"torch=={TORCH}"),
        external=True,
    )


def _pip_can(python: str, requirement: str) -> bool:
    command = [python, "-m", "pip", "install", "--quiet", requirement]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


def _pip(session: nox.Session, python: str, *arguments: str) -> None:
    session.run(python, "-m", "pip", "-qq", *arguments, external=True)


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
    _pytest(session, *(session.posargs or ["tests"]))


@nox.session(venv_backend="none", default=False)
def containers(session: nox.Session) -> None:
    """Run the tests that need a Docker engine; .ci/engine starts one where there is none."""
    _pytest(session, "--run-docker", "tests/contract", "tests/container", *session.posargs)


@nox.session(venv_backend="none", default=False)
def serving(session: nox.Session) -> None:
    """Run the tests of vLLM beside a run, on Linux: its CPU build where there is no GPU."""
    _pytest(session, "--run-serving", "tests/serving", *session.posargs, within="rl")


@nox.session(venv_backend="none", default=False)
def rl(session: nox.Session) -> None:
    """Run the tests that need transformers and peft; they skip in the default session."""
    _pytest(session, *(session.posargs or ["tests/rl"]), within="rl")


@nox.session(venv_backend="none", default=False)
def megatron(session: nox.Session) -> None:
    """Run the tests that need Megatron-Core; they skip in the default session."""
    default = ["tests/unit/pretrain/test_megatron.py"]
    _pytest(session, *(session.posargs or default), within="megatron")


@nox.session(venv_backend="none", default=False)
def fieldkit(session: nox.Session) -> None:
    """Run the tests of the record of trials beside the author's own library."""
    default = ["tests/unit/lineage/test_fieldkit.py"]
    _pytest(session, *(session.posargs or default), within="fieldkit")


@nox.session(venv_backend="none", default=False)
def nemo(session: nox.Session) -> None:
    """Run the test of NeMo's experiment manager around the small GPT."""
    default = ["tests/unit/continued/test_managed.py"]
    _pytest(session, *(session.posargs or default), within="nemo")


@nox.session(venv_backend="none", default=False)
def curator(session: nox.Session) -> None:
    """Hold our cleaning beside NeMo Curator's: the same documents kept, and how fast."""
    _pytest(session, *(session.posargs or ["tests/curator", "tests/unit/curate"]), within="curator")
    session.run(environment(session, "curator"), "-m", "tests.bench.curator", external=True)


@nox.session(venv_backend="none", default=False)
def gpu(session: nox.Session) -> None:
    """Run the tests that need an NVIDIA GPU."""
    _pytest(session, "--run-gpu", "tests/gpu", *session.posargs)


def _pytest(session: nox.Session, *arguments: str, within: str = "tests") -> None:
    python = environment(session, within)
    env = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    session.run(python, "-m", "pytest", *arguments, env=env, external=True)


@nox.session(venv_backend="none", default=False)
def tables(session: nox.Session) -> None:
    """Render every published table again and compare it byte for byte."""
    python = environment(session, "base")
    harness(session, python, "publish", "--all", "--stale")


@nox.session(venv_backend="none", default=False)
def bench(session: nox.Session) -> None:
    """Measure what the harness itself costs, beside ReFrame in its own environment."""
    python = environment(session, "tests")
    reframe = Path(environment(session, "reframe")).with_name("reframe")
    command = [python, "-m", "tests.bench", "--reframe", str(reframe)]
    session.run(*command, *session.posargs, external=True)


@nox.session(name="bench-serving", venv_backend="none", default=False)
def bench_serving(session: nox.Session) -> None:
    """Measure what an engine costs beside its vLLM: refreshes, and tokens for 16 clients."""
    python = environment(session, "rl")
    env = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    command = [python, "-m", "tests.bench.serving"]
    session.run(*command, *session.posargs, env=env, external=True)


@nox.session(name="bench-rl", venv_backend="none", default=False)
def bench_rl(session: nox.Session) -> None:
    """Measure a GRPO step beside TRL's, in its own environment."""
    python, trl = environment(session, "rl"), environment(session, "trl")
    session.run(python, "-m", "tests.bench.grpo", "--trl", trl, *session.posargs, external=True)


@nox.session(name="bench-pretrain", venv_backend="none", default=False)
def bench_pretrain(session: nox.Session) -> None:
    """Measure the data path and the training loop, beside a plain loop and HF's Trainer."""
    python = environment(session, "rl")
    env = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    command = [python, "-m", "tests.bench.pretrain"]
    session.run(*command, *session.posargs, env=env, external=True)


# --- what changes files ---------------------------------------------------------------------------


@nox.session(venv_backend="none", default=False)
def schema(session: nox.Session) -> None:
    """Export the JSON Schemas of scenario.yaml and expectations.yaml for editors."""
    python = environment(session, "base")
    for name in ("scenario", "expectations"):
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
    """Resolve the requirements again, with hashes for every platform."""
    python = environment(session, "tools")
    overrides = Path(session.create_tmp()) / "overrides.txt"
    for source in sorted(REQUIREMENTS.glob("*.in")):
        left_out = NOT_LOCKED if source.stem == WITH_TORCH else (*TORCH_BUILDS, *NOT_LOCKED)
        overrides.write_text("".join(f"{name} ; sys_platform == 'never'\n" for name in left_out))
        session.run(
            *(python, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--upgrade"),
            *("--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"),
            *("--override", str(overrides)),
            *(f"--no-emit-package={name}" for name in left_out),
            *(str(source), "--output-file", str(source.with_suffix(".txt"))),
            external=True,
        )
