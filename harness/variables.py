"""Environment variables by which the harness and what it starts talk to each other."""

from __future__ import annotations

from collections.abc import Mapping

RUN_VARIABLE = "HARNESS_RUN"  # names the run, and its owner, that a process belongs to
EVIDENCE_VARIABLE = "HARNESS_EVIDENCE_DIR"  # folder of the published files
MODELS_VARIABLE = "HARNESS_MODELS_DIR"  # folder of the published models
ARTEFACTS_VARIABLE = "HARNESS_ARTEFACTS_DIR"  # folder of the finished steps
SANDBOX_VARIABLE = "HARNESS_SANDBOX"  # socket at which a run in a container asks for sandboxes
KEY_VARIABLE = "HARNESS_CHAT_API_KEY"  # for the one model server that a run may ask
PROGRESS_VARIABLE = "HARNESS_PROGRESS_FILE"  # what a run says of how it gets on goes there
REHEARSAL_VARIABLE = "HARNESS_REHEARSAL"  # where a process of a rehearsal is
PROBE_VARIABLE = "HARNESS_HOST_PROBE"  # "off": the machine is not probed around runs
HISTORY_VARIABLE = "HARNESS_HISTORY"  # folder of the histories


def chat_key(environ: Mapping[str, str]) -> str:
    """Return the key of the model server, without the line end that files and pastes add to it."""
    return environ.get(KEY_VARIABLE, "").strip()
