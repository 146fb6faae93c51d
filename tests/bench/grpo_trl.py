"""``python grpo_trl.py WORK BATCH STEPS``: TRL's GRPO steps on the same rollouts; one JSON line.

Runs in an environment of TRL's own, which has nothing of the harness. The rollouts are handed over
by TRL's own hook for them, so that no time goes into generating; what the model did not write is
masked. Nothing of TRL is changed.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer  # type: ignore[import-not-found]

KL, LEARNING_RATE = 0.04, 1e-3
MEMBERS = 4


class Clock(TrainerCallback):  # type: ignore[misc]
    """CPU seconds from the begin to the end of every optimizer step."""

    def __init__(self) -> None:
        self.cpu_s: list[float] = []
        self._began = 0.0

    def on_step_begin(self, *_: object, **__: object) -> None:
        """A step begins: next comes the reference's pass."""
        self._began = time.process_time()

    def on_step_end(self, *_: object, **__: object) -> None:
        """The optimizer has moved the weights."""
        self.cpu_s.append(time.process_time() - self._began)


def main(work: Path, batch: int, steps: int) -> None:
    """Take the steps."""
    torch.set_num_threads(1)
    rollouts = json.loads((work / "rollouts.json").read_text(encoding="utf-8"))
    model = AutoModelForCausalLM.from_pretrained(work / "model", dtype=torch.float32)
    clock = Clock()
    trainer = GRPOTrainer(
        model=PeftModel.from_pretrained(model, work / "adapter", is_trainable=True),
        reward_funcs=[given_reward],
        args=_config(work, batch, len(rollouts), steps),
        train_dataset=Dataset.from_dict({"prompt": _names(rollouts)}),
        processing_class=AutoTokenizer.from_pretrained(work / "model"),
        rollout_func=_handed_over(rollouts),
        callbacks=[clock],
    )
    trainer.train()
    norms = [each["grad_norm"] for each in trainer.state.log_history if "grad_norm" in each]
    print(json.dumps({"cpu_s": clock.cpu_s, "gradient_norms": norms}))


def given_reward(completions: list[Any], reward: list[float], **_: object) -> list[float]:
    """Return the rewards that the rollouts came with."""
    assert len(completions) == len(reward)
    return reward


def _names(rollouts: list[dict[str, Any]]) -> list[str]:
    return [f"t{group}" for group in sorted({each["group"] for each in rollouts})]


def _handed_over(rollouts: list[dict[str, Any]]) -> Any:
    """Return TRL's hook: for every prompt its next rollout."""

    def hand_over(prompts: list[str], _: object) -> dict[str, list[Any]]:
        left = defaultdict(list)
        for each in rollouts:
            left[f"t{each['group']}"].append(each)
        chosen = [left[prompt].pop() for prompt in prompts]
        return {
            "prompt_ids": [each["prompt"] for each in chosen],
            "completion_ids": [each["completion"] for each in chosen],
            "logprobs": [[-6.0] * len(each["completion"]) for each in chosen],
            "env_mask": [each["mask"] for each in chosen],
            "reward": [each["reward"] for each in chosen],
        }

    return hand_over


def _config(work: Path, batch: int, num_rollouts: int, steps: int) -> Any:
    return GRPOConfig(
        output_dir=str(work / "trl"),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=num_rollouts // batch,
        num_generations=MEMBERS,
        loss_type="grpo",
        beta=KL,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        max_steps=steps,
        max_completion_length=512,
        gradient_checkpointing=False,
        logging_steps=1,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
