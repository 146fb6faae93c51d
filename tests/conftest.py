"""Flags for tests that need more than Python, and the fixtures that all tests share."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import sys
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

from harness.records import ImageRef
from harness.runtime.images import build
from harness.scenario.images import SANDBOX_IMAGE
from harness.variables import PROBE_VARIABLE

# their modules import peft, safetensors and a retriever as soon as they are collected; the sessions
# `rl` and `serving` run them where these are installed
collect_ignore = [] if find_spec("peft") else ["rl", "serving"]

# Tests start a thousand programs. Where the machine says to write no bytecode, each of those
# compiles the harness again, half of what a short command costs; and pytest compiles its tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_FLAGS = {
    "docker": "a Docker engine",
    "gpu": "an NVIDIA GPU",
    "serving": "a vLLM installation",
    "slow": "patience",
}


def pytest_configure() -> None:
    # an example's time says how busy the machine is, not whether the code is right
    settings.register_profile("project", deadline=None)
    settings.load_profile("project")
    os.environ[PROBE_VARIABLE] = "off"  # seconds around each run that a test asks for by name
    # in the background SIGINT is ignored, here and in all that the tests start and interrupt
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    for name, need in _FLAGS.items():
        parser.addoption(f"--run-{name}", action="store_true", help=f"run tests that need {need}")
    parser.addoption("--site", type=Path, help="test this site, instead of one built for the tests")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the collector of garbage away from what stays until the end: modules and tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for name, need in _FLAGS.items():
            if item.get_closest_marker(name) and not config.getoption(f"--run-{name}"):
                item.add_marker(pytest.mark.skip(reason=f"needs {need}: use --run-{name}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Keep the tests of other workers away while one marked `alone` is at work.

    Whoever waits to be alone holds the gate, so that nobody else gets in before.
    """
    alone = item.get_closest_marker("alone") is not None
    gate, turn = (os.open(path, os.O_RDONLY) for path in (__file__, Path(__file__).parent))
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(turn, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        return (yield)
    finally:
        fcntl.flock(turn, fcntl.LOCK_UN)  # also from a process that was forked and stayed
        os.close(turn)
        os.close(gate)


@pytest.fixture(scope="session")
def evidence_dir() -> Path:
    """The published raw data, where this machine has it."""
    given = os.environ.get("HARNESS_EVIDENCE_DIR")
    if not given or not Path(given).is_dir():
        pytest.skip("published raw data is not here: set HARNESS_EVIDENCE_DIR")
    return Path(given)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that holds harness/ and scenarios/."""
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def containers(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the recipes and their lock, so that building leaves the project's as it is."""
    folder = tmp_path_factory.mktemp("recipes") / "containers"
    shutil.copytree(project_root / "containers", folder)
    return folder


@pytest.fixture(scope="session")
def cpu_image(containers: Path) -> ImageRef:
    """The image of the cpu profiles, built where the engine has none of its recipe."""
    return build(containers, "cpu", accept=True, listen=print)


@pytest.fixture(scope="session")
def sandbox_image(containers: Path) -> ImageRef:
    """The image of sandboxes that are containers, built as `cpu_image`."""
    return build(containers, SANDBOX_IMAGE, accept=True, listen=print)
