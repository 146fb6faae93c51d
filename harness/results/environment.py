"""environment.json: everything beside the spec that a result may depend on, and no secret.

Variables are recorded by an allow-list of names, the command line after `harness.results.redact`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from harness import __version__
from harness.records import SCHEMA_VERSION, RunSpec, record
from harness.results.code import Code, code_state
from harness.results.interpreter import Interpreter, this_interpreter
from harness.results.redact import redact, redact_arguments
from harness.runtime.environ import looks_secret
from harness.runtime.host import Host

# Variables that change arithmetic, its speed, or which files are read. A name that ends in "_"
# means all that begin so; names that look like those of secrets (VLLM_API_KEY) are left out.
RECORDED_VARIABLES = (
    *(
        "OMP_",
        "KMP_",
        "MKL_",
        "OPENBLAS_",
        "CUBLAS_",
        "CUDA_",
        "CUDNN_",
        "NCCL_",
        "NVIDIA_",
        "NVTE_",
    ),
    *("TORCH_", "TORCHINDUCTOR_", "PYTORCH_", "TRITON_", "VLLM_", "RAY_DEDUP_LOGS"),
    *("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "TOKENIZERS_PARALLELISM"),
    *("PYTHONHASHSEED", "PYTHONOPTIMIZE", "MALLOC_ARENA_MAX", "LD_PRELOAD", "LANG", "TZ"),
)
_FIRST_YEAR, _LAST_YEAR = 2026, 2100  # this program is not older, and hardly in use then


@record
class RunEnvironment:
    """What a run was executed in; the spec says the rest.

    Attributes:
        harness: the harness's version.
        code: the state of the source tree.
        interpreter: the Python that ran the workload, and its packages.
        host: the machine.
        images: container image -> id, for each that the run used.
        seeds: name -> seed.
        command: the command line, without secrets.
        variables: environment variables of `RECORDED_VARIABLES` that were set.
        warnings: what a reader should know before they trust a date or a figure.
    """

    harness: str
    code: Code
    interpreter: Interpreter
    host: Host
    images: Mapping[str, str]
    seeds: Mapping[str, int]
    command: tuple[str, ...]
    variables: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION


def capture(
    spec: RunSpec,
    host: Host,
    *,
    project: Path,
    images: Mapping[str, str] | None = None,
    interpreter: Interpreter | None = None,
    warnings: tuple[str, ...] = (),
) -> RunEnvironment:
    """Return the environment of a run that starts now.

    Args:
        spec: the run.
        host: the machine, probed.
        project: the folder of the source tree.
        images: container image -> id; by default the one that the spec is locked to.
        interpreter: what `harness.results.interpreter` said inside a container; by default the
            running one.
        warnings: e.g. of `clock_warning`.
    """
    locked = {spec.image.name: spec.image.digest} if spec.image else {}
    return RunEnvironment(
        harness=__version__,
        code=code_state(project),
        interpreter=interpreter or this_interpreter(),
        host=host,
        images=locked if images is None else images,
        seeds={"run": spec.seed},
        command=command_line(sys.argv, project),
        variables=recorded_variables(os.environ),
        warnings=warnings,
    )


def clock_warning(now: datetime, newest: str) -> str:
    """Return why dates that the machine's clock gives are doubtful; empty where they are not.

    Args:
        now: what it says, with its time zone.
        newest: when the newest stored run of the profile started, as `RunOutcome.started_at`.
    """
    if not _FIRST_YEAR <= now.year <= _LAST_YEAR:
        return f"the clock says {now.date()}: dates of these runs are wrong"
    if now.isoformat() < newest:
        return f"the clock says {now.date()}, but a stored run is of {newest[:10]}: it was set back"
    return ""


def command_line(arguments: Sequence[str], project: Path) -> tuple[str, ...]:
    """Return a command line as it may be published: no secret, no place of the source tree."""
    # a name of bytes that are no UTF-8 is shown by their escapes, as no record can hold it
    told = [each.encode("utf-8", "backslashreplace").decode() for each in arguments]
    program, *rest = redact_arguments(told)
    tree = redact(str(project.resolve()))
    return (Path(program).name, *(each.replace(tree, ".") for each in rest))


def recorded_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `RECORDED_VARIABLES` that are set, in order of name."""
    prefixes = tuple(name for name in RECORDED_VARIABLES if name.endswith("_"))
    return {
        name: redact(value)
        for name, value in sorted(environ.items())
        if (name in RECORDED_VARIABLES or name.startswith(prefixes)) and not looks_secret(name)
    }
