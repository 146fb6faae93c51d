"""The figures of articles 32 to 34, from tasks to trained policies. Loads no torch."""

from __future__ import annotations

from harness.experiments.a32_34.counts import RATES, WALL
from harness.workloads.api.declare import Better, Metric
from harness.workloads.api.figures import metrics_of
from harness.workloads.inference.observed import CHAT_METRICS, REQUEST_METRICS
from harness.workloads.rl import agreement

_HIGHER, _LOWER = Better.HIGHER, Better.LOWER

WRITTEN = (
    *CHAT_METRICS,
    Metric(name="tasks.count", unit="count", doc="tasks"),
    Metric(name="split.total", unit="count", doc="tasks of a side; where: split"),
    Metric(name="tasks.failed", unit="count", doc="slots that no task was written for"),
    Metric(name="tasks.assertions", unit="1", doc="assertions a task, mean"),
    Metric(name="tasks.steps", unit="1", doc="steps a task, mean of the author's estimates"),
    Metric(name="synthesis.time", unit="s", doc="time to write all tasks", timing=True),
    Metric(name="synthesis.task_time", unit="s", doc="time to write one, mean", timing=True),
    Metric(name="lint.findings", unit="count", doc="where: rule", better=_LOWER),
    Metric(name="lint.tasks", unit="count", doc="tasks with a finding", better=_LOWER),
    Metric(
        name="baseline.pass_rate",
        unit="%",
        doc="tasks with every assertion; where: policy, split, assertions (all or linted)",
    ),
    Metric(
        name="baseline.assertion_pass_rate",
        unit="%",
        doc="assertions that hold; where: policy, split, assertions (all or linted)",
    ),
    Metric(name="baseline.turns", unit="turn", doc="mean of the oracle's rollouts; where: split"),
)

# Reported by the rollouts of an agent; of printed counts, where these suffice.
AGENT = (
    *metrics_of(RATES, WALL),
    Metric(name="agent.mean_turns", unit="turn", doc="where: policy", better=_LOWER),
    Metric(
        name="agent.rollout_time_ratio", unit="x", doc="trained / base, of a rollout", timing=True
    ),
    Metric(name="agent.pass_rate_by_persona", unit="%", doc="where: policy, persona"),
    Metric(name="agent.assertion_pass_rate_by_kind", unit="%", doc="where: policy, kind"),
)

SERVED = (
    *REQUEST_METRICS,
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
        name="serve.logprob_abs_diff_p95",
        unit="nat",
        doc="|server - trainer| of the same tokens, 95th percentile of the worst step",
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
    Metric(name="sft.demonstrations", unit="count", doc="demonstrations that are imitated"),
    Metric(name="sft.num_truncated", unit="count", doc="demonstrations whose end was cut off"),
    Metric(name="sft.steps", unit="step", doc="optimizer steps"),
    Metric(name="sft.zero_lr_steps", unit="step", doc="optimizer steps with a learning rate of 0"),
    Metric(name="sft.learning_rate", unit="1", doc="what a step was taken with; where: step"),
    Metric(name="sft.loss", unit="nat", doc="before a step; where: step", better=_LOWER),
    Metric(name="sft.loss_ratio", unit="x", doc="last loss / first", better=_LOWER),
    Metric(name="sft.time", unit="s", doc="all steps together", timing=True),
)

# where: variant, step
REWARDED = (
    *agreement.METRICS,
    Metric(
        name="train.reward", unit="1", doc="mean reward of the training rollouts", better=_HIGHER
    ),
    Metric(name="train.pass_rate", unit="%", doc="rollouts with every assertion", better=_HIGHER),
    Metric(name="train.assertion_pass_rate", unit="%", doc="assertions that hold", better=_HIGHER),
    Metric(name="train.stop_rate", unit="%", doc="rollouts that stopped", better=_HIGHER),
    Metric(name="train.mean_turns", unit="turn", doc="mean turns of a rollout", better=_LOWER),
    Metric(name="train.groups", unit="count", doc="groups with a gradient"),
    Metric(
        name="train.zero_variance_groups",
        unit="count",
        doc="groups without reward spread (no gradient)",
    ),
    Metric(
        name="train.rollout_errors",
        unit="count",
        doc="rollouts that broke; they count in no other figure",
    ),
    Metric(name="train.kl", unit="nat", doc="K3 to the fine-tuned policy a token, unweighted"),
    Metric(name="train.entropy", unit="nat", doc="mean entropy of the policy a token"),
    Metric(name="train.grad_norm", unit="1", doc="gradient norm before clipping"),
    Metric(name="train.update_norm", unit="1", doc="L2 of the step's change of the weights"),
    Metric(
        name="train.update_norm_ratio", unit="1", doc="that / (rate * sqrt(trained parameters))"
    ),
    Metric(name="train.learning_rate", unit="1", doc="as the optimizer held it when it stepped"),
    Metric(name="train.weight_decay", unit="1", doc="likewise"),
    Metric(name="train.resamples", unit="1", doc="turns resampled, a rollout"),
    Metric(
        name="train.resample_share",
        unit="%",
        doc="resamples used, of those that turns from the second on allow",
    ),
    Metric(
        name="train.generated_tokens",
        unit="token",
        doc="generated by the engine, dropped tokens included",
    ),
)

# where: variant
LEARNED = (
    Metric(name="learn.steps", unit="step", doc="optimizer steps taken"),
    Metric(name="learn.no_signal", unit="flag", doc="ended because no group had any variance"),
    Metric(
        name="learn.frac_reward_zero_std", unit="%", doc="share of groups without reward spread"
    ),
    Metric(name="learn.generated_tokens", unit="token", doc="generated by the engine in all steps"),
    Metric(
        name="learn.below_threshold_fraction",
        unit="%",
        doc="turns from the second on whose entropy is within the threshold of the one before; "
        "where: variant, resample_threshold",
    ),
    Metric(name="learn.best_step", unit="step", doc="the checkpoint kept, by held-out tasks"),
    Metric(name="learn.step_time", unit="s", doc="one step, median", better=_LOWER, timing=True),
    Metric(name="learn.rollout_time", unit="s", doc="rollouts of a step, median", timing=True),
    Metric(name="learn.update_time", unit="s", doc="update of a step, median", timing=True),
    Metric(
        name="learn.environment_share",
        unit="%",
        doc="of the rollouts' time, not the model's: sandboxes, grading, bookkeeping",
        better=_LOWER,
        timing=True,
    ),
)

# where: variant, step, split. A step's weights play all three: `batch`, which the next step trains
# on, as training samples it; `pool` and `held-out` as evaluations are decoded.
CURVES = (
    Metric(name="eval.pass_rate", unit="%", doc="tasks with every assertion", better=_HIGHER),
    Metric(name="eval.assertion_pass_rate", unit="%", doc="assertions that hold", better=_HIGHER),
    Metric(name="eval.mean_turns", unit="turn", doc="mean turns of a rollout", better=_LOWER),
    Metric(name="eval.stop_rate", unit="%", doc="rollouts that stopped", better=_HIGHER),
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

EVALUATED = (
    Metric(
        name="agent.rollout_errors",
        unit="count",
        doc="rollouts that broke, not by the agent; they count in no other figure; where: policy",
        better=_LOWER,
    ),
    Metric(name="agent.stop_reason", unit="%", doc="share of the rollouts; where: policy, reason"),
    Metric(
        name="agent.assertion_pass_rate_low", unit="%", doc="tasks resampled, 95 %; where: policy"
    ),
    Metric(
        name="agent.assertion_pass_rate_high", unit="%", doc="tasks resampled, 95 %; where: policy"
    ),
    Metric(name="agent.stop_rate_low", unit="%", doc="Wilson, 95 %; where: policy"),
    Metric(name="agent.stop_rate_high", unit="%", doc="Wilson, 95 %; where: policy"),
    Metric(
        name="agent.environment_share",
        unit="%",
        doc="of the rollouts' time, not the model's: sandbox, grading, bookkeeping; where: policy",
        better=_LOWER,
        timing=True,
    ),
    Metric(
        name="agent.tasks_trained",
        unit="count",
        doc="tasks played that training was shown or had played before; where: policy",
    ),
    Metric(
        name="agent.stop_early",
        unit="1",
        doc="mean probability of stopping at a turn before the work is done; where: policy",
    ),
    Metric(
        name="agent.stop_late",
        unit="1",
        doc="mean probability of stopping at a turn after the work is done; where: policy",
    ),
    Metric(
        name="agent.reparsed_stop_rate",
        unit="%",
        doc="clean stops of stored rollouts, read by another parser; where: policy, parser",
    ),
    Metric(
        name="agent.reparsed_turns",
        unit="turn",
        doc="mean turns of the same; where: policy, parser",
    ),
)

_COMPARED = (
    ("agent.pass_rate_difference", "%", "of tasks passed", _HIGHER),
    ("agent.assertion_pass_rate_difference", "%", "of assertions that hold", _HIGHER),
    ("agent.stop_rate_difference", "%", "of clean stops", _HIGHER),
    ("agent.turns_difference", "turn", "of mean turns", _LOWER),
)

COMPARED = (
    *(
        Metric(name=name, unit=unit, doc=f"policy - other, {doc}; where: both", better=better)
        for name, unit, doc, better in _COMPARED
    ),
    *(
        Metric(name=f"{name}_{end}", unit=unit, doc="tasks resampled, 95 %; where: policy, other")
        for name, unit, _, _ in _COMPARED
        for end in ("low", "high")
    ),
    Metric(
        name="agent.pass_rate_paired_p",
        unit="1",
        doc="two-sided p of no difference, McNemar's exact test; where: policy, other",
    ),
    Metric(
        name="agent.stop_rate_paired_p",
        unit="1",
        doc="two-sided p of no difference, McNemar's exact test; where: policy, other",
    ),
    Metric(
        name="agent.assertion_pass_rate_paired_p",
        unit="1",
        doc="two-sided p of no difference, t-test over tasks; where: policy, other",
    ),
    Metric(
        name="agent.assertion_pass_rate_difference_by_persona",
        unit="%",
        doc="policy - other, of a persona's tasks; where: policy, other, persona",
        better=_HIGHER,
    ),
    Metric(
        name="agent.turns_paired_p",
        unit="1",
        doc="two-sided p of no difference, t-test over tasks; where: policy, other",
    ),
    Metric(
        name="stop.by_parser",
        unit="%",
        doc="clean stops that only the parser made; where: source (replay or rollouts)",
    ),
    Metric(
        name="stop.by_training",
        unit="%",
        doc="clean stops gained at one parser; where: source (replay or rollouts)",
    ),
)
