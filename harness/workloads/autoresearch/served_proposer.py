"""A small model as proposer, served beside the loop, that cannot but answer in form.

The policy of `harness.workloads.tiny_models` knows files, not pretraining: what it proposes is no
better than a draw. Its answers are held to a pattern while they are drawn, token by token (vLLM's
structured outputs), so every one is an object with the three keys, a knob of the menu and a value
of its domain. What form cannot guarantee, such as that anything changes, is still for the rails.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import HostError
from harness.workloads.autoresearch.params import LoopParams
from harness.workloads.autoresearch.search_space import Knob, Space
from harness.workloads.inference.service import RunningService
from harness.workloads.inference.vllm import Dtype, OnCpu, Serving, vllm_service
from harness.workloads.inference.vllm_engine import installed
from harness.workloads.tiny_models.checkpoint import tiny_model

LOG_FILE = "vllm.log"
# the policy's context is 2048 tokens, about 1.4 characters each where the text is not of files
PROMPT_CHARACTERS = 1200
_NAME = "policy"
_CONTEXT_TOKENS = 2048
_SPECIAL = re.compile(r"[.+*?()\[\]{}|^$\\]")
_REASON = "[A-Z][a-z]{1,11}( [a-z]{1,11}){0,7}\\."


@contextmanager
def served(params: LoopParams, out: Path) -> Iterator[LoopParams]:
    """Serve the policy where it is to propose; give the params that say where it answers.

    Raises:
        HostError: vLLM is not installed, or the policy is not as it was made.
        EngineError: it does not start.
    """
    if params.proposer != "served":
        yield params
        return
    if not installed():
        message = f"vLLM is to serve the proposer, and {sys.executable} has none"
        raise HostError(message, "nox -s rl  # makes an environment that has")
    serving = Serving(
        model_dir=tiny_model("files"),
        name=_NAME,
        dtype=Dtype.FLOAT32,
        max_model_len=_CONTEXT_TOKENS,
        max_num_seqs=1,
        seed=0,
        place=OnCpu(kv_cache_gib=1),
    )
    with RunningService(vllm_service(serving), out / LOG_FILE) as service:
        yield replace(params, base_url=f"{service.url}/v1", model=_NAME)


def structured_outputs(space: Space) -> dict[str, Any]:
    """Return what an answer must look like: one of the menu's changes, with a plain reason.

    A pattern, not a JSON schema: between the parts of an object a schema allows white space without
    end, and a model that likes it draws nothing else.
    """
    changes = "|".join(_change(knob) for knob in space.knobs.values())
    return {"regex": rf'\{{({changes}), "reason": "{_REASON}"\}}'}


def _change(knob: Knob) -> str:
    values = "|".join(_SPECIAL.sub(r"\\\g<0>", json.dumps(value)) for value in knob.levels())
    return f'"knob": "{knob.name}", "new_value": ({values})'
