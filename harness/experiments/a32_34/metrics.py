"""The figures of serving, imitation and learning from rewards. Loads no torch."""

from __future__ import annotations

from harness.workloads.api.declare import Better, Metric

_HIGHER, _LOWER = Better.HIGHER, Better.LOWER

SERVED = (
    Metric(name="serve.engine", unit="text", doc="what served the policy, with its version"),
    Metric(name="serve.sandbox", unit="text", doc="where the policy's commands ran"),
    Metric(
        name="serve.startup_time",
        unit="s",
        doc="until the server was healthy",
        better=_LOWER,
        timing=True,
    ),
    Metric(
        name="serve.weight_sync_time",
        unit="s",
        doc="until new weights answer, mean",
        better=_LOWER,
        timing=True,
    ),
    Metric(
        name="serve.logprob_abs_diff_mean",
        unit="nat",
        doc="|server - trainer| of the same tokens' log-probabilities, mean",
        better=_LOWER,
    ),
    Metric(
        name="serve.logprob_abs_diff_max",
        unit="nat",
        doc="|server - trainer| of the same tokens' log-probabilities, largest",
        better=_LOWER,
    ),
)

TUNED = (
    Metric(name="policy.parameters", unit="parameter", doc="of the model without its adapter"),
    Metric(name="sft.parameters", unit="parameter", doc="trained"),
    Metric(name="sft.demonstrations", unit="count", doc="that are imitated"),
    Metric(name="sft.num_truncated", unit="count", doc="of them, those that lost their end"),
    Metric(name="sft.steps", unit="step", doc="optimizer steps"),
    Metric(name="sft.zero_lr_steps", unit="step", doc="of them, with a learning rate of 0"),
    Metric(name="sft.learning_rate", unit="1", doc="what a step was taken with; where: step"),
    Metric(name="sft.loss", unit="nat", doc="before a step; where: step", better=_LOWER),
    Metric(name="sft.loss_ratio", unit="x", doc="last loss / first", better=_LOWER),
    Metric(name="sft.time", unit="s", doc="of all steps", timing=True),
)

# where: variant, step
REWARDED = (
    Metric(name="train.reward", unit="1", doc="mean of the rollouts", better=_HIGHER),
    Metric(name="train.pass_rate", unit="%", doc="rollouts with every assertion", better=_HIGHER),
    Metric(name="train.assertion_pass_rate", unit="%", doc="that hold", better=_HIGHER),
    Metric(name="train.stop_rate", unit="%", doc="rollouts that stopped", better=_HIGHER),
    Metric(name="train.mean_turns", unit="turn", doc="of a rollout", better=_LOWER),
    Metric(name="train.groups", unit="count", doc="with anything to learn from"),
    Metric(name="train.zero_variance_groups", unit="count", doc="groups that train nothing"),
    Metric(name="train.rollout_errors", unit="count", doc="rollouts that broke and count nowhere"),
    Metric(name="train.kl", unit="nat", doc="K3 to the fine-tuned policy a token, unweighted"),
    Metric(name="train.entropy", unit="nat", doc="of the policy's distribution a token"),
    Metric(name="train.grad_norm", unit="1", doc="before it is clipped"),
    Metric(name="train.update_norm", unit="1", doc="L2 of the step's change of the weights"),
    Metric(
        name="train.update_norm_ratio", unit="1", doc="that / (rate * sqrt(trained parameters))"
    ),
    Metric(name="train.resamples", unit="1", doc="turns drawn again, a rollout"),
    Metric(
        name="train.resample_share",
        unit="%",
        doc="redraws of those that turns from the second on allow",
    ),
    Metric(name="train.generated_tokens", unit="token", doc="by the engine, what was dropped too"),
)

# where: variant
LEARNED = (
    Metric(name="learn.steps", unit="step", doc="optimizer steps taken"),
    Metric(name="learn.no_signal", unit="flag", doc="ended because no group had any variance"),
    Metric(name="learn.frac_reward_zero_std", unit="%", doc="groups that trained nothing, of all"),
    Metric(name="learn.generated_tokens", unit="token", doc="by the engine, in all steps"),
    Metric(
        name="learn.below_threshold_fraction",
        unit="%",
        doc="turns from the second on whose entropy is within the threshold of the one before; "
        "where: variant, resample_threshold",
    ),
    Metric(name="learn.best_step", unit="step", doc="the checkpoint kept, by held-out tasks"),
    Metric(name="learn.step_time", unit="s", doc="of one step, median", better=_LOWER, timing=True),
    Metric(name="learn.rollout_time", unit="s", doc="of it, playing; median", timing=True),
    Metric(name="learn.update_time", unit="s", doc="of it, the update; median", timing=True),
    Metric(
        name="learn.environment_share",
        unit="%",
        doc="of the rollouts' time, not the model's: boxes, grading, bookkeeping",
        better=_LOWER,
        timing=True,
    ),
)

# where: variant, step, split. A step's weights play all three: `batch`, which the next step trains
# on, as training draws it; `pool` and `held-out` as evaluations are decoded.
CURVES = (
    Metric(name="eval.pass_rate", unit="%", doc="tasks with every assertion", better=_HIGHER),
    Metric(name="eval.assertion_pass_rate", unit="%", doc="that hold", better=_HIGHER),
    Metric(name="eval.mean_turns", unit="turn", doc="of a rollout", better=_LOWER),
    Metric(name="eval.stop_rate", unit="%", doc="clean stops", better=_HIGHER),
    Metric(
        name="eval.gap",
        unit="%",
        doc="these tasks - held-out, points of assertions; where: variant, step, split",
    ),
    Metric(
        name="eval.best_step",
        unit="step",
        doc="the checkpoint that these tasks' assertions choose; where: variant, split",
    ),
    Metric(
        name="eval.agree",
        unit="flag",
        doc="whether these tasks choose what the held-out ones do; where: variant, split",
    ),
)
