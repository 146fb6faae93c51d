"""The trainings of `replay`, by Lightning under NeMo's experiment manager.

Model, texts, optimizer, schedule and clipping are those of `replay`'s own loop, so every figure is
the same to the last bit. NeMo adds a folder for each training, with logs, TensorBoard events and
checkpoints, and goes on from the last checkpoint when a run that was killed is started again.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns of each optional package that is not installed
    from lightning.pytorch import LightningModule, Trainer
    from nemo.utils.callbacks.nemo_model_checkpoint import NeMoModelCheckpoint
    from nemo.utils.exp_manager import exp_manager

from harness.experiments.cpt.replay import Experiment, Measure, Trained
from harness.workloads.api import progress
from harness.workloads.api.context import Context
from harness.workloads.training.loop import Batch, TrainingRun, cross_entropy

_NUM_CHECKPOINTS = 10  # along one training


def run(context: Context) -> None:
    """Run `continued.nemo`."""
    folder = context.checkpoints.resolve()
    if folder.is_dir():
        context.emit.note("an attempt was killed: trainings go on from their last checkpoints")
    Experiment(context, lambda *training: train(folder, *training), __name__).run()


def train(
    folder: Path,
    name: str,
    training: TrainingRun,
    num_steps: int,
    measure: Mapping[int, Measure],
) -> Trained:
    """Train up to step `num_steps`, from the last checkpoint in `folder` where there is one.

    Args:
        folder: gets the training's own folder.
        name: of the training; the same when it is started again.
        training: decides every step.
        num_steps: of the whole training.
        measure: number of steps -> what to measure after so many; kept in the checkpoints.
    """
    module = _Module(name, training, measure)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=num_steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    _keep_newest_checkpoint(folder / name / "checkpoints")
    exp_manager(trainer, _settings(folder / name, max(2, num_steps // _NUM_CHECKPOINTS)))
    began = time.perf_counter()
    trainer.fit(module, _Batches(training, num_steps, trainer), ckpt_path=trainer.ckpt_path)
    return Trained(
        measured=module.measured,
        losses=tuple(module.losses),
        num_steps=num_steps - module.first_step,
        wall_s=time.perf_counter() - began,
    )


class _Module(LightningModule):  # type: ignore[misc]
    """A `TrainingRun` as Lightning runs it, step by step the same."""

    def __init__(self, name: str, training: TrainingRun, measure: Mapping[int, Measure]) -> None:
        super().__init__()
        self._name = name
        self.automatic_optimization = False
        self.model = training.model
        self.measured: dict[int, Mapping[str, float]] = {}
        self.losses: list[float] = []  # of each step, nats a word
        self.first_step = 0  # of this attempt
        self._training = training
        self._measure = measure
        self._random_state: Tensor | None = None  # of the checkpoint that this attempt began with

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the training's optimizer."""
        return self._training.optimizer

    def on_train_start(self) -> None:
        """Draw dropout as if the training had not been interrupted."""
        if self._random_state is not None:
            torch.set_rng_state(self._random_state)

    def training_step(self, batch: Batch, _: int) -> None:
        """Take one step as `TrainingRun.steps` does; with Lightning's own order memory differs."""
        training, optimizer = self._training, self.optimizers()
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate(self.trainer.global_step)
        ids_BS, targets_BS = batch
        with training.forward_context():
            logits_BSV = self.model(ids_BS)
        loss = cross_entropy(logits_BSV, targets_BS)
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), training.max_grad_norm, foreach=True)
        optimizer.step()
        self.losses.append(loss.item())
        num_steps = self.trainer.global_step  # this one included
        self.logger.log_metrics({"loss": self.losses[-1]}, num_steps)
        total = self.trainer.max_steps
        progress.tell(f"train {self._name}", num_steps, total, {"loss": self.losses[-1]})
        if (measure := self._measure.get(num_steps)) is not None:  # before NeMo saves a checkpoint
            self.measured[num_steps] = measure()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the figures need that Lightning does not keep."""
        checkpoint["harness"] = {
            "measured": {step: dict(found) for step, found in self.measured.items()},
            "losses": list(self.losses),
            "random_state": torch.get_rng_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back."""
        kept = checkpoint["harness"]
        self.measured, self.losses = kept["measured"], kept["losses"]
        self._random_state = kept["random_state"]
        self.first_step = checkpoint["global_step"]


class _Batches(Iterable[Batch]):
    """The batches that are left, in order.

    Its length is that of the whole training: Lightning counts from the first step also where it
    begins at a checkpoint, and makes a batch ahead where it knows no length.
    """

    def __init__(self, training: TrainingRun, num_steps: int, trainer: Trainer) -> None:
        self._training, self._num_steps, self._trainer = training, num_steps, trainer

    def __len__(self) -> int:
        return self._num_steps

    def __iter__(self) -> Iterator[Batch]:
        for step in range(self._trainer.global_step, self._num_steps):
            yield self._training.batch(step)


def _keep_newest_checkpoint(folder: Path) -> None:
    """Leave one checkpoint to go on from: NeMo refuses what a kill while it saves leaves.

    That is an unfinished checkpoint as the only one, or the new and the old one side by side.
    """
    if folder.is_dir():
        NeMoModelCheckpoint._remove_unfinished_checkpoints(folder)  # noqa: SLF001 - NeMo's own way
        for old in sorted(folder.glob("*.ckpt"), key=lambda file: file.stat().st_mtime_ns)[:-1]:
            old.unlink()


def _settings(folder: Path, save_every: int) -> dict[str, Any]:
    """Return what the experiment manager is asked for."""
    return {
        "explicit_log_dir": str(folder),
        "resume_if_exists": True,
        "resume_ignore_no_checkpoint": True,
        "create_tensorboard_logger": True,
        "log_step_timing": False,  # its tensors would count as the training's memory
        "create_checkpoint_callback": True,
        "checkpoint_callback_params": {
            "filename": "{step}",
            "monitor": "step",
            "save_top_k": 0,  # no best one, only the last
            "save_last": True,
            "every_n_epochs": None,
            "every_n_train_steps": save_every,
            "save_nemo_on_train_end": False,  # the archive is for models of NeMo's own
        },
    }
