"""What twelve minutes of a GPU are worth most, in this order; the results are one JSON file.

``python -m tests.gpu.session RESULTS.json`` does all parts, each in a process that is ended when
its time is over; ``--plan`` prints them, and ``--part NAME RESULTS.json`` does one. No network is
needed: the model has the published shape of Qwen2.5-0.5B-Instruct and random weights that follow a
chat template (`tests.spark.stand_ins`). What is measured is time, memory and agreement, never how
good a model is. Needs the packages of ``nox -s rl`` on a machine with a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Any

from harness.records import record, to_json
from harness.variables import MODELS_VARIABLE

ROOT = Path(__file__).parents[2]
TOTAL_S = 720.0
MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
_CLIENTS, _REFRESHES, _STEPS, _PRODUCTS = 16, 5, 15, 30
# one step at the profile's shapes: its lengths, dtypes, sampling, and rollouts of a group
_ONE_STEP = {"per_persona": 2, "num_eval_examples": 8, "max_steps": 1, "variants": ["full"]}

Figures = Mapping[str, Any]


class PartState(StrEnum):
    """How a part ended."""

    DONE = "done"
    FAILED = "failed"
    OUT_OF_TIME = "out of time"


@record
class SessionPart:
    """One thing to find out.

    Attributes:
        budget_s: after which it is ended.
    """

    name: str
    budget_s: float
    asks: str


PARTS = (
    SessionPart(
        name="serve", budget_s=170.0, asks="does vLLM start, serve, and take a LoRA adapter anew"
    ),
    SessionPart(name="step", budget_s=280.0, asks="one step of article 34 at the cuda shapes"),
    SessionPart(name="mfu", budget_s=60.0, asks="which share of the GPU's products 354M use"),
    SessionPart(name="memory", budget_s=60.0, asks="does a cell hold what the law says"),
    SessionPart(name="forecast", budget_s=140.0, asks="does the rehearsal forecast that step"),
)


@record
class PartResult:
    """What came of a part.

    Attributes:
        figures: what it measured; empty unless it is done.
        cause: the end of what it printed, unless it is done.
    """

    name: str
    state: PartState
    wall_s: float
    figures: Figures
    cause: str = ""


def main(arguments: Sequence[str]) -> int:
    """Do all parts, or one; return the exit code: 0 where all are done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", help="the JSON file to write")
    parser.add_argument("--part", choices=[each.name for each in PARTS])
    parser.add_argument("--plan", action="store_true", help="print the parts, and do none")
    given = parser.parse_args(arguments)
    if given.plan:
        for part in PARTS:
            print(f"{part.budget_s:4.0f} s  {part.name:8}  {part.asks}")
        return 0
    if given.results is None:
        parser.error("name the file to write")
    if given.part:
        given.results.write_text(json.dumps(MEASURES[given.part]()), encoding="utf-8")
        return 0
    found: list[PartResult] = []
    deadline = time.monotonic() + TOTAL_S
    for part in PARTS:
        left_s = deadline - time.monotonic()
        command = [sys.executable, "-m", "tests.gpu.session", "--part", part.name]
        found.append(done(part, command, min(part.budget_s, left_s)))
        document = {"device": _device(), "parts": to_json(tuple(found))}
        given.results.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        print(f"{found[-1].name}: {found[-1].state}, {found[-1].wall_s:.0f} s", flush=True)
    return int(any(each.state is not PartState.DONE for each in found))


def done(part: SessionPart, command: Sequence[str], budget_s: float) -> PartResult:
    """Do a part in a process group of its own, which ends with it or with its time."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        results, printed = Path(scratch) / "results.json", Path(scratch) / "printed"
        state, code = PartState.DONE, None
        with printed.open("wb") as output:
            process = subprocess.Popen(
                [*command, str(results)],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=ROOT,
            )
            try:
                code = process.wait(max(0.0, budget_s))
            except subprocess.TimeoutExpired:
                state = PartState.OUT_OF_TIME
            finally:
                _end(process)
        wall_s = time.monotonic() - began
        if code is not None and code != 0:
            state = PartState.FAILED
        figures: Figures = {}
        if state is PartState.DONE:
            figures = json.loads(results.read_text(encoding="utf-8"))
        cause = "" if figures else printed.read_text(encoding="utf-8", errors="replace")[-2000:]
        return PartResult(name=part.name, state=state, wall_s=wall_s, figures=figures, cause=cause)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the group: vLLM's engine outlives the process that started it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _device() -> str:
    import torch  # noqa: PLC0415 - a plan is printed without it

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "no GPU"


# --- parts ----------------------------------------------------------------------------------------


def serve() -> Figures:
    """Start vLLM, load it with requests, give it adapters, and compare its probabilities."""
    import torch  # noqa: PLC0415 - as the rest of this part

    from harness.workloads.inference.chat_template import (  # noqa: PLC0415
        Message,
        Role,
        load_chat_template,
    )
    from harness.workloads.inference.engine import SamplingParams  # noqa: PLC0415
    from harness.workloads.inference.vllm import OnGpu, Serving, VllmDtype  # noqa: PLC0415
    from harness.workloads.inference.vllm_engine import serve as served  # noqa: PLC0415
    from harness.workloads.models.example import masked  # noqa: PLC0415
    from harness.workloads.models.lora import LoraPolicy  # noqa: PLC0415
    from harness.workloads.models.lora_settings import Compute, LoraSettings, WeightDtype  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch:
        folder = _model(Path(scratch))
        template = load_chat_template(folder)
        serving = Serving(
            model_dir=folder,
            name="policy",
            dtype=VllmDtype.BFLOAT16,
            max_model_len=8192,
            max_num_seqs=_CLIENTS,
            seed=0,
            place=OnGpu(kv_cache_bytes=8 * 2**30),
            max_lora_rank=16,
        )
        began = time.monotonic()
        with served(serving, template.end, Path(scratch) / "vllm.log") as engine:
            engine.wait_until_ready()
            start_s = time.monotonic() - began
            prompt = template.opening([Message(role=Role.USER, content="Sort the files. " * 60)])
            # no token ends it: all that may be drawn is drawn
            sampling = SamplingParams(temperature=1.5, max_new_tokens=256, seed=1, top_p=1, top_k=0)
            began = time.monotonic()
            with ThreadPoolExecutor(_CLIENTS) as pool:
                replies = [*pool.map(lambda _: engine.reply(prompt, sampling), range(_CLIENTS))]
            tokens_per_s = sum(len(each.tokens) for each in replies) / (time.monotonic() - began)
            compute = Compute(dtype=WeightDtype.BF16, device="cuda")
            policy = LoraPolicy.open(folder, LoraSettings(seed=1), compute)
            refreshes_s = []
            for number in range(_REFRESHES):
                noise = {
                    name: value + 1e-3 * torch.randn_like(value)
                    for name, value in policy.weights().items()
                }
                policy.put(noise)
                policy.save(Path(scratch) / f"adapter-{number}")
                began = time.monotonic()
                engine.refresh(Path(scratch) / f"adapter-{number}")
                refreshes_s.append(time.monotonic() - began)
            reply = replies[0].tokens
            of_engine = engine.score((*prompt, *reply), len(prompt))
            example = masked((*prompt, *reply), [False] * len(prompt) + [True] * len(reply))
            with torch.no_grad():
                (of_trainer,) = policy.logprobs([example])
            gaps = [
                abs(one - other) for one, other in zip(of_engine, of_trainer.tolist(), strict=True)
            ]
            return {
                "engine": engine.identity,
                "start_s": start_s,
                "tokens_per_s": tokens_per_s,
                "refresh_s": median(refreshes_s),
                "logprob_abs_diff_mean": sum(gaps) / len(gaps),
                "logprob_abs_diff_max": max(gaps),
            }


def step() -> Figures:
    """Run one step of article 34 by the program itself."""
    with tempfile.TemporaryDirectory() as scratch:
        _harness(Path(scratch), "run", "a34", "--store", str(Path(scratch) / "store"))
        return of_store(Path(scratch) / "store")


def of_store(store: Path) -> Figures:
    """Return wall clock and figures of the one run in a store."""
    (path,) = store.rglob("measurements.json")
    wanted = (
        *("learn.step_time", "learn.rollout_time", "learn.update_time"),
        *("serve.weight_sync_time", "serve.logprob_abs_diff_mean", "serve.logprob_abs_diff_p95"),
        *("serve.engine", "serve.sandbox", "memory.host_peak"),
    )
    found = json.loads(path.read_text(encoding="utf-8"))
    figures = {each["metric"]: each["value"] for each in found if each["metric"] in wanted}
    outcome = json.loads(path.with_name("outcome.json").read_text(encoding="utf-8"))
    return {"wall_s": outcome["wall_s"], "device": outcome["device"], **figures}


def mfu() -> Figures:
    """Train article 19's 354M GPT, and this GPU's own products of matrices beside it."""
    import torch  # noqa: PLC0415 - as the rest of this part

    params, seconds, _ = _cell(batch_size=16)
    rate = params.tokens_per_step / median(seconds)
    from harness.workloads.models.shape import num_parameters  # noqa: PLC0415

    size = 8192
    one = torch.randn(size, size, device="cuda", dtype=torch.bfloat16)
    for _ in range(_PRODUCTS):
        one @ one
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(_PRODUCTS):
        one @ one
    torch.cuda.synchronize()
    products = _PRODUCTS * 2 * size**3 / (time.perf_counter() - began)
    return {
        "tokens_per_s": rate,
        "matmul_tflop_s": products / 1e12,
        "share_of_matmul": 6 * num_parameters(params.shape) * rate / products,
    }


def memory() -> Figures:
    """Hold the memory law against what the allocator counted, for four cells."""
    from harness.workloads.models.peak_memory import peak_bytes  # noqa: PLC0415
    from harness.workloads.models.shape import Precision  # noqa: PLC0415

    ratios = {}
    for batch_size in (2, 4, 8, 16):
        params, _, counted = _cell(batch_size=batch_size, num_steps=3)
        law = peak_bytes(params.shape, params.tokens_per_step, Precision.BF16, dropout=True)
        ratios[f"counted_to_law.batch_{batch_size}"] = counted / law
    return ratios


def forecast() -> Figures:
    """Rehearse that step; `truth` of the result is the wall clock of the part `step`."""
    with tempfile.TemporaryDirectory() as scratch:
        printed = _harness(Path(scratch), "rehearse", "a34", "--json")
        return of_rehearsal(json.loads(printed))


def of_rehearsal(answer: Mapping[str, Any]) -> Figures:
    """Return the forecast of the one run that a rehearsal's answer is about."""
    found = answer["found"]
    (run,) = found["each"]
    return {
        "goes": answer["goes"],
        "wall_s": run["wall_s"],
        "low_s": run["low_s"],
        "high_s": run["high_s"],
        "memory_gib": run["memory_gib"],
        "cost_s": found["wall_s"],
    }


MEASURES: Mapping[str, Callable[[], Figures]] = {
    "serve": serve,
    "step": step,
    "mfu": mfu,
    "memory": memory,
    "forecast": forecast,
}


def _cell(*, batch_size: int, num_steps: int = _STEPS) -> tuple[Any, list[float], int]:
    """Train a cell of article 19; return its params, seconds a step, and the peak of its memory."""
    import torch  # noqa: PLC0415

    from harness.workloads.models.conditions import Framework  # noqa: PLC0415
    from harness.workloads.models.frameworks import library  # noqa: PLC0415
    from harness.workloads.models.precision import arithmetic  # noqa: PLC0415
    from harness.workloads.models.shape import Precision  # noqa: PLC0415
    from harness.workloads.training.memory_tracker import CudaAllocator  # noqa: PLC0415
    from harness.workloads.training.pretrain import training_run  # noqa: PLC0415
    from harness.workloads.training.pretrain_params import EnvelopeParams  # noqa: PLC0415

    device = torch.device("cuda")
    params = EnvelopeParams(batch_size=batch_size, seq_len=1024, precision="bf16")
    with CudaAllocator(device) as counter:
        way = arithmetic(Precision.BF16, device)
        run = training_run(params, way, library(Framework.HAND_WRITTEN, device))
        seconds = [each.step_s for each in run.steps(num_steps=num_steps)]
        return params, seconds[2:], counter.peak_bytes


def _model(folder: Path) -> Path:
    """Write the stand-in at the published shape, noted as the revision that the profile names."""
    from tests.spark.profiles import planned  # noqa: PLC0415
    from tests.spark.stand_ins import make  # noqa: PLC0415

    place = make(folder, MODEL, published_shape=True)
    (spec,) = planned_step(planned)
    noted = place / ".cache/huggingface/download/config.json.metadata"
    noted.parent.mkdir(parents=True)
    noted.write_text(f"{spec.params['model'].partition('@')[2]}\n", encoding="utf-8")
    return place


def planned_step(planned: Callable[..., list[Any]]) -> list[Any]:
    """Return the plan of the part `step`: one run."""
    from harness.records import Profile  # noqa: PLC0415

    return planned("a34", Profile.CUDA, **_ONE_STEP)


def _harness(folder: Path, command: str, scenario: str, *more: str) -> str:
    """Run a command of the program on the one step; return what it printed."""
    _model(folder / "models")
    settings = [f"--set={name}={json.dumps(value)}" for name, value in _ONE_STEP.items()]
    done = subprocess.run(
        [sys.executable, "-m", "harness", command, scenario, "--profile=cuda", *settings, *more],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, MODELS_VARIABLE: str(folder / "models")},
    )
    if not done.stdout:
        message = f"harness {command} ended with {done.returncode}"
        raise RuntimeError(message)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
