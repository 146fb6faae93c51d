"""The base, trained by Lightning under NeMo's experiment manager instead of the loop written here.

The same model, texts, optimizer and schedule, so the losses are the same to the last bit. What NeMo
adds is around them: a folder a run, with its logs, TensorBoard's events and the best checkpoint. No
scenario needs it. Needs nemo_toolkit 3: ``nox -s nemo``.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it does without
    from lightning.pytorch import LightningModule, Trainer
    from nemo.utils.exp_manager import exp_manager

from harness.experiments.cpt.params import ReplayParams
from harness.experiments.cpt.replay import adamw_of, drawn
from harness.workloads.models.frameworks import hand_written
from harness.workloads.models.precision import arithmetic
from harness.workloads.training.loop import cross_entropy


class Base(LightningModule):  # type: ignore[misc]
    """The small GPT as Lightning trains it; `losses` has one a step, nats a word."""

    def __init__(self, params: ReplayParams, seed: int) -> None:
        super().__init__()
        self.params = params
        way = arithmetic(params.conditions.precision, torch.device("cpu"))
        torch.manual_seed(seed)
        self.model = hand_written(params.shape, params.conditions, way, device=torch.device("cpu"))
        self.losses: list[float] = []

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Return the loss of one batch of texts (N, S + 1)."""
        (texts,) = batch
        loss = cross_entropy(self.model(texts[:, :-1]), texts[:, 1:])
        self.losses.append(loss.item())
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW, and the schedule as shares of its learning rate."""
        adamw = adamw_of(self.params, self.params.steps, self.params.learning_rate)
        optimizer = adamw.optimizer(self.model)
        shares = replace(adamw.schedule(), peak=1.0)

        def share(step: int) -> float:  # a function: a checkpoint keeps no other callable's slots
            return shares.lr_at(step)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def train(params: ReplayParams, seed: int, folder: Path) -> Base:
    """Train the base on the CPU, keeping log, events and checkpoints in `folder`."""
    base = Base(params, seed)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=params.steps,
        gradient_clip_val=params.clip_norm,
        log_every_n_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    exp_manager(
        trainer,
        {
            "explicit_log_dir": str(folder),
            "create_tensorboard_logger": True,
            "create_checkpoint_callback": True,
            "checkpoint_callback_params": {
                "monitor": "loss",
                "save_top_k": 1,
                "save_nemo_on_train_end": False,  # the archive is for models of NeMo's own
                "save_on_train_epoch_end": True,
            },
        },
    )
    texts = drawn(params, seed).old
    trainer.fit(base, DataLoader(TensorDataset(texts), batch_size=params.batch_size))
    return base
