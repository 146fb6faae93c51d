"""``python -m tests.bench.grpo_ours WORK PRODUCT STEPS``: our GRPO steps; prints one JSON line."""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path

import torch

from harness.workloads.models.lora import LoraPolicy
from harness.workloads.models.lora_settings import Compute, Dropout, LoraSettings, Product
from harness.workloads.rl.algorithms import grpo
from harness.workloads.rl.losses import reinforce
from harness.workloads.rl.trainer import Trainer, TrainerSettings
from tests.bench.grpo_work import KL, LEARNING_RATE, groups


def main(work: Path, product: Product, steps: int) -> None:
    """Take the steps."""
    torch.set_num_threads(1)
    policy = LoraPolicy.open(
        work / "model", LoraSettings(dropout=0.0), Compute(device="cpu", product=product)
    )
    policy.load(work / "adapter")
    settings = TrainerSettings(
        learning_rate=LEARNING_RATE,
        weight_decay=0.0,
        reset_optimizer_each_step=False,
        dropout=Dropout.OFF,
    )
    trainer = Trainer(
        policy, grpo.advantages, partial(reinforce, kl_coef=KL), settings, policy.weights()
    )
    given = groups(json.loads((work / "rollouts.json").read_text(encoding="utf-8")))
    cpu_s, norms = [], []
    for _ in range(steps):
        began = time.process_time()
        update = trainer.step(given).update
        cpu_s.append(time.process_time() - began)
        assert update
        norms.append(update.gradient_norm)
    print(json.dumps({"cpu_s": cpu_s, "gradient_norms": norms}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Product(sys.argv[2]), int(sys.argv[3]))
