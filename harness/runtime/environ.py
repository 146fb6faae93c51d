"""The environment variables of a run: those that it needs, and no others.

A run sees the variables listed here, those that its runtime sets, and those that it is given by
name; so no key or token of the user reaches a workload, a log or a published result unasked. One
key is meant for runs, and its name says so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from harness.errors import HostError
from harness.variables import KEY_VARIABLE, chat_key
from harness.workloads.__main__ import LIFELINE_VARIABLE

# A name that ends in "_" means all names that begin so.
# What decides the arithmetic or its speed; a container gets these as well:
_ARITHMETIC = ("OMP_", "KMP_", "MKL_", "OPENBLAS_", "CUBLAS_", "NVIDIA_TF32_OVERRIDE")
# What programs on this machine need in order to start:
_HOST = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_", "TZ", "TMPDIR", "VIRTUAL_ENV"),
    *("LD_LIBRARY_PATH", "CUDA_", "NCCL_", "HF_", "XDG_CACHE_HOME"),
)
_SECRET = re.compile(
    r"(^|_)((API|ACCESS|SECRET|PRIVATE)_?KEY|KEY|TOKEN|PAT|SECRET|PASSWORD|PASSWD|PASS|PASSPHRASE"
    r"|CREDENTIALS?|CREDS|AUTH)(_|$)",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"://[^/@\s]+@")  # a password in an address, whatever the variable is called


def looks_secret(name: str) -> bool:
    """Return whether a variable of this name may hold a secret, e.g. ``HF_TOKEN``."""
    return _SECRET.search(name) is not None


def given_folder(variable: str) -> Path | None:
    """Return the folder that the user names in a variable; None where they name none.

    A ``~`` that quotes kept from the shell is their home here too.

    Raises:
        HostError: there is no such folder.
    """
    named = os.environ.get(variable)
    if not named:
        return None
    folder = Path(os.path.expanduser(named))  # noqa: PTH111 - Path's raises where there is no home
    if not folder.is_dir():
        message = f"{variable} names no folder: {named}"
        raise HostError(message, f"export {variable}=FOLDER  # or: unset {variable}")
    return folder


def host_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what of this process's environment a program on this machine is given."""
    return _chosen((*_HOST, *_ARITHMETIC), environ)


def container_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what of this process's environment a container is given."""
    return _chosen(_ARITHMETIC, environ)


def set_arithmetic(given: Mapping[str, str]) -> None:
    """Make the variables of this process that decide arithmetic those of another machine.

    Ray sets the number of OpenMP threads itself, which decides sums to the last bit.
    """
    for name in container_environment():
        del os.environ[name]
    os.environ.update(given)


def run_environment(source: str) -> dict[str, str]:
    """Return what every runtime sets, so that a run is the same everywhere.

    Args:
        source: the folder that holds the package ``harness``, as the run sees it.
    """
    return {
        LIFELINE_VARIABLE: "1",
        "PYTHONHASHSEED": "0",  # sets of text iterate in one order
        "PYTHONPATH": source,
        "PYTHONSAFEPATH": "1",  # a file in the run's folder must never shadow a module
        "PYTHONUNBUFFERED": "1",  # the last words of a killed run are in its log
        "PYTHONUTF8": "1",
        "SPT_NOENV": "1",  # else setproctitle writes a title over the mark that a run is ended by
    }


def compile_caches(folder: str) -> dict[str, str]:
    """Return where vLLM, torch and Triton keep what they compile, so that a later run finds it."""
    return {
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor",
        "TRITON_CACHE_DIR": f"{folder}/triton",
        "VLLM_CACHE_ROOT": f"{folder}/vllm",
    }


def _chosen(names: tuple[str, ...], environ: Mapping[str, str] | None) -> dict[str, str]:
    prefixes = tuple(name for name in names if name.endswith("_"))
    given = os.environ if environ is None else environ
    chosen = {
        name: value
        for name, value in given.items()
        if (name in names or name.startswith(prefixes))
        and not looks_secret(name)
        and not _USERINFO.search(value)
    }
    return {**chosen, KEY_VARIABLE: chat_key(given)} if chat_key(given) else chosen
