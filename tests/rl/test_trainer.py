"""The one trainer: a step against torch in float64, the size of a step, what is muted, resuming."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

NEEDS = "needs the environment `rl`: nox -s rl"
pytest.importorskip("transformers", reason=NEEDS)
pytest.importorskip("peft", reason=NEEDS)

from transformers import AutoModelForCausalLM  # noqa: E402

from harness.errors import InputError  # noqa: E402
from harness.workloads.inference.engine import SamplingParams  # noqa: E402
from harness.workloads.inference.truncation import drawn_logprobs  # noqa: E402
from harness.workloads.models.adapter import Weights  # noqa: E402
from harness.workloads.models.lora import LoraPolicy  # noqa: E402
from harness.workloads.models.lora_settings import Dropout  # noqa: E402
from harness.workloads.rl import losses  # noqa: E402
from harness.workloads.rl.advantages import (  # noqa: E402
    Advantages,
    Aggregation,
    Group,
    MaskReason,
    UnscorableError,
)
from harness.workloads.rl.algorithms import grpo  # noqa: E402
from harness.workloads.rl.losses import Loss, SampledTokens, SequenceLoss  # noqa: E402
from harness.workloads.rl.trainer import (  # noqa: E402
    OldLogprobs,
    StepPhase,
    Trainer,
    TrainerSettings,
    Update,
)
from harness.workloads.training.errors import DivergedError  # noqa: E402

from .small import LORA, VOCABULARY, new_group, new_policy, shaken  # noqa: E402

STILL = TrainerSettings(dropout=Dropout.OFF, weight_decay=0.0, learning_rate=1e-3)
REWARDS = (1.0, 0.2, 0.5, 0.1)
KL = 0.04


def trainer(
    policy: LoraPolicy,
    settings: TrainerSettings = STILL,
    reference: Weights | None = None,
    loss: Loss | None = None,
) -> Trainer:
    by_default = partial(losses.reinforce, kl_coef=KL if reference else 0.0)
    return Trainer(policy, grpo.advantages, loss or by_default, settings, reference)


def updated(trainer: Trainer, groups: Sequence[Group]) -> Update:
    update = trainer.step(groups).update
    assert update
    return update


def flat(weights: Weights) -> Tensor:
    return torch.cat([each.flatten() for each in weights.values()])


# --- the oracle -----------------------------------------------------------------------------------


def by_hand(base: Path, weights: Weights, reference: Weights, group: Group) -> dict[str, Tensor]:
    """Return the gradient of article 33's loss in float64, one rollout at a time."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float64)
    matrices = dict(model.named_parameters())
    leaves = {name: value.double().requires_grad_() for name, value in weights.items()}

    def logprobs(adapter: Weights, tokens: Sequence[int]) -> Tensor:
        merged = {
            name: matrix + LORA.alpha / LORA.rank * adapter[b].double() @ adapter[a].double()
            for name, matrix in matrices.items()
            for a, b in [[f"base_model.model.{name[:-7]}.lora_{end}.weight" for end in "AB"]]
            if a in adapter
        }
        ids = torch.tensor([tokens])
        logits: Tensor = torch.func.functional_call(model, merged, (ids,)).logits[0, :-1]
        return logits.log_softmax(-1).gather(1, ids[0, 1:, None]).squeeze(1)

    total = torch.zeros((), dtype=torch.float64)
    for member, found in zip(group.members, grpo.advantages(group), strict=True):
        advantage = found.per_turn[0]
        drawn = torch.tensor(member.trace.turn_ids[1:]) >= 0
        new = logprobs(leaves, member.trace.tokens)[drawn]
        difference = new - logprobs(reference, member.trace.tokens)[drawn].detach()
        k3 = torch.exp(-difference) + difference - 1
        total = total - advantage * new.mean() + KL * k3.mean()
    gradients = torch.autograd.grad(total / len(group.members), list(leaves.values()))
    return dict(zip(leaves, gradients, strict=True))


def test_a_step_is_the_one_computed_by_hand(base: Path) -> None:
    policy = new_policy(base)
    before, reference, group = policy.weights(), shaken(policy, seed=5), new_group(policy, REWARDS)
    gradient = flat(by_hand(base, before, reference, group))
    update = updated(trainer(policy, reference=reference), [group])
    assert update.gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-4)
    # a fresh AdamW moves every weight by rate * g / (|g| + eps)
    clipped = gradient * min(1.0, 1.0 / float(gradient.norm()))
    moved = (flat(policy.weights()) - flat(before)).double()
    expected = -STILL.learning_rate * clipped / (clipped.abs() + 1e-8)
    # a gradient below the rounding of its neighbours may have either sign
    sure = clipped.abs() > 1e-5 * clipped.abs().max()
    assert sure.double().mean() > 0.99
    assert float((moved - expected)[sure].abs().max()) < 1e-3 * STILL.learning_rate


def test_the_reference_s_kl_is_raw_and_weighted(base: Path) -> None:
    policy = new_policy(base)
    group = new_group(policy, REWARDS)
    here = updated(trainer(policy, reference=policy.weights()), [group])
    assert (
        0 <= here.statistics["kl"] < 1e-12
    )  # of the rounding between passes with and without gradients
    away = updated(trainer(policy, reference=shaken(policy, seed=5)), [group])
    assert away.statistics["kl"] > 0
    assert away.statistics["kl_term"] == pytest.approx(KL * away.statistics["kl"])


def test_dropout_keeps_the_kl_above_zero(base: Path) -> None:
    policy = new_policy(base)
    active = replace(STILL, dropout=Dropout.ACTIVE)
    update = updated(
        trainer(policy, active, reference=policy.weights()), [new_group(policy, REWARDS)]
    )
    assert update.statistics["kl"] > 0
    assert update.logprob_difference.largest < 1e-4  # taken without dropout


# --- the size of a step ---------------------------------------------------------------------------


def test_a_fresh_adamw_moves_by_rate_times_root_of_n(base: Path) -> None:
    for learning_rate in (1e-5, 1e-3):
        policy = new_policy(base)
        settings = replace(STILL, learning_rate=learning_rate)
        steps = trainer(policy, settings)
        for seed in range(2):
            update = updated(steps, [new_group(policy, REWARDS, seed)])
            # float32 stores a weight of 0.1 to 4e-9, of a rate of 1e-5
            assert 0.98 < update.update_norm_ratio <= 1.001
            bound = learning_rate * policy.num_trainable**0.5
            assert update.update_norm == pytest.approx(update.update_norm_ratio * bound)


def test_moments_that_persist_make_another_second_step(base: Path) -> None:
    weights = {}
    for reset in (True, False):
        policy = new_policy(base)
        steps = trainer(policy, replace(STILL, reset_optimizer_each_step=reset))
        groups = [new_group(policy, REWARDS, seed) for seed in range(2)]
        first = updated(steps, groups[:1])
        second = updated(steps, groups[1:])
        weights[reset] = flat(policy.weights())
        assert (second.update_norm_ratio < 0.95) == (not reset)
        assert first.update_norm_ratio > 0.98
    assert not torch.equal(*weights.values())


# --- muting ---------------------------------------------------------------------------------------


def test_a_muted_group_leaves_no_trace(base: Path) -> None:
    moved = []
    for with_muted in (False, True):
        policy = new_policy(base)
        groups = [new_group(policy, REWARDS)]
        if with_muted:
            groups.append(new_group(policy, (0.5, 0.5), seed=1))
        report = trainer(policy, reference=shaken(policy, seed=5)).step(groups)
        assert (report.groups, report.masked_groups) == (len(groups), int(with_muted))
        assert (report.used, report.rollouts) == (4, 4 + 2 * with_muted)
        assert dict(report.masked) == ({MaskReason.EQUAL_REWARDS: 2} if with_muted else {})
        moved.append(flat(policy.weights()))
    assert torch.equal(*moved)


def test_nothing_to_train_on_is_an_end_and_no_failure(base: Path) -> None:
    policy = new_policy(base)
    before = flat(policy.weights())
    groups = [new_group(policy, (0.5, 0.5)), new_group(policy, (1.0,))]
    report = trainer(policy, TrainerSettings(), policy.weights()).step(groups)
    assert report.update is None
    assert report.update is None
    assert dict(report.masked) == {MaskReason.EQUAL_REWARDS: 2, MaskReason.SINGLE_MEMBER: 1}
    assert torch.equal(flat(policy.weights()), before)


def test_what_is_too_long_is_not_trained_on_but_compared_with(base: Path) -> None:
    policy = new_policy(base)
    group = new_group(policy, REWARDS)
    longest = max(len(member.trace.tokens) for member in group.members)
    seen: list[Advantages] = []

    def listening(drawn: SampledTokens, credit: Advantages) -> SequenceLoss:
        seen.append(credit)
        return losses.reinforce(drawn, credit, 0.0)

    report = trainer(policy, replace(STILL, max_length=longest), loss=listening).step([group])
    assert dict(report.masked) == {MaskReason.TOO_LONG: 1}
    assert {each.per_turn for each in seen} < {each.per_turn for each in grpo.advantages(group)}


# --- several updates ------------------------------------------------------------------------------


def test_a_ratio_moves_over_the_updates_of_a_step(base: Path) -> None:
    policy = new_policy(base)
    settings = replace(
        STILL, num_iterations=2, num_minibatches=2, old_logprobs=OldLogprobs.RECOMPUTED
    )
    loss = partial(losses.clipped, clip=replace(losses.GRPO_CLIP, kl_coef=0.0))
    once = updated(trainer(policy, STILL, loss=loss), [new_group(policy, REWARDS)])
    assert once.updates == 1
    assert once.statistics["importance_ratio_mean"] == pytest.approx(1.0, abs=1e-5)
    group = new_group(policy, REWARDS)
    update = updated(trainer(policy, settings, loss=loss), [group])
    assert update.updates == 4
    assert update.tokens == sum(len(member.trace.logprobs) for member in group.members)
    assert abs(update.statistics["importance_ratio_mean"] - 1.0) > 1e-4


def test_the_trainer_s_own_log_probabilities_replace_the_engine_s(base: Path) -> None:
    policy = new_policy(base)
    group = off(new_group(policy, REWARDS), by=0.5)
    loss = partial(losses.clipped, clip=replace(losses.GRPO_CLIP, kl_coef=0.0))
    ratios = {
        old: updated(
            trainer(new_policy(base), replace(STILL, old_logprobs=old), loss=loss), [group]
        ).statistics["importance_ratio_mean"]
        for old in OldLogprobs
    }
    assert ratios[OldLogprobs.SAMPLED] == pytest.approx(2.718281828**-0.5, rel=1e-4)
    assert ratios[OldLogprobs.RECOMPUTED] == 1.0


def off(group: Group, by: float) -> Group:
    """Return the group as an engine would report it whose log-probabilities are too high."""
    members = []
    for member in group.members:
        turns = tuple(
            replace(turn, logprobs=tuple(value + by for value in turn.logprobs))
            for turn in member.trace.turns
        )
        members.append(replace(member, trace=replace(member.trace, turns=turns)))
    return replace(group, members=tuple(members))


def test_engine_and_trainer_are_compared_token_by_token(base: Path) -> None:
    policy = new_policy(base)
    group = new_group(policy, REWARDS)
    alike = updated(trainer(policy), [group]).logprob_difference
    assert alike.mean <= alike.p95 <= alike.largest < 1e-5
    assert (alike.outside_band, alike.sampling_bias) == (0.0, None)
    policy = new_policy(base)
    for settings in (STILL, replace(STILL, num_minibatches=2)):
        apart = updated(
            trainer(new_policy(base), settings), [off(group, by=0.5)]
        ).logprob_difference
        assert apart.mean == pytest.approx(0.5, abs=1e-5)
        assert apart.largest == pytest.approx(0.5, abs=1e-5)
        assert apart.outside_band == 1.0  # exp(-0.5) is below 0.8
        wide = replace(settings, clip_band=(0.4, 0.4))
        inside = updated(trainer(new_policy(base), wide), [off(group, by=0.5)])
        assert inside.logprob_difference.outside_band == 0.0


def test_a_few_tokens_apart_are_seen_where_the_mean_hides_them(base: Path) -> None:
    policy = new_policy(base)
    group = new_group(policy, REWARDS)
    turn, *turns = group.members[0].trace.turns
    first = replace(turn, logprobs=(turn.logprobs[0] + 1.0, *turn.logprobs[1:]))
    member = replace(group.members[0], trace=replace(group.members[0].trace, turns=(first, *turns)))
    update = updated(trainer(policy), [replace(group, members=(member, *group.members[1:]))])
    found = update.logprob_difference
    assert found.largest == pytest.approx(1.0, abs=1e-5)
    assert found.outside_band == pytest.approx(1 / update.tokens)
    assert found.p95 < 1e-5 if update.tokens > 20 else found.p95 <= found.largest


@pytest.mark.parametrize(
    ("sampling", "is_biased"),
    [
        ({}, False),
        ({"temperature": 0.7}, True),
        ({"top_k": VOCABULARY // 2}, True),
        ({"top_p": 0.6}, True),
    ],
)
def test_the_bias_of_what_is_cut_off_is_seen(
    base: Path,
    sampling: dict[str, Any],
    is_biased: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    drawn = replace(SamplingParams(temperature=1.0, max_new_tokens=8, seed=0), **sampling)
    for settings in (STILL, replace(STILL, num_minibatches=2)):
        policy = new_policy(base)
        group = new_group(policy, REWARDS)
        update = trainer(policy, settings).step([group], drawn).update
        assert update is not None
        found = update.logprob_difference.sampling_bias
        assert found is not None
        assert (abs(found) > 1e-4) == is_biased


def test_what_is_cut_off_biases_by_the_probability_that_it_leaves() -> None:
    """log mu - log pi of a drawn token is minus the log of the mass of what may be drawn."""
    shares = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
    drawn = SamplingParams(temperature=1.0, max_new_tokens=8, seed=0, top_k=2)
    found = drawn_logprobs(shares.log(), torch.tensor([1]), drawn) - shares[0, 1].log()
    assert float(found) == pytest.approx(-math.log(0.8))


def test_tokens_or_sequences_are_averaged(base: Path) -> None:
    norms = set()
    for aggregation in Aggregation:
        policy = new_policy(base)
        update = updated(
            trainer(policy, replace(STILL, aggregation=aggregation)), [new_group(policy, REWARDS)]
        )
        norms.add(update.gradient_norm)
    assert len(norms) == 2


def test_every_phase_that_ran_has_its_seconds(base: Path) -> None:
    policy = new_policy(base)
    report = trainer(policy, TrainerSettings(), policy.weights()).step([new_group(policy, REWARDS)])
    assert set(report.seconds) == set(StepPhase)
    assert all(seconds > 0 for seconds in report.seconds.values())


def test_the_entropy_is_of_the_policy(base: Path) -> None:
    policy = new_policy(base)
    update = updated(trainer(policy), [new_group(policy, REWARDS)])
    assert 0 < update.entropy < float(torch.tensor(VOCABULARY).log())


# --- what is not finite ---------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_names_its_group_and_changes_nothing(base: Path) -> None:
    policy = new_policy(base)
    before = flat(policy.weights())
    groups = [
        new_group(policy, REWARDS, key="fine"),
        off(new_group(policy, REWARDS, key="broken"), by=float("nan")),
    ]
    with pytest.raises(UnscorableError, match="group broken, member"):
        trainer(policy).step(groups)
    assert torch.equal(flat(policy.weights()), before)


def test_a_gradient_that_is_not_finite_is_never_applied(base: Path) -> None:
    policy = new_policy(base)
    before = flat(policy.weights())

    def root(drawn: SampledTokens, _: Advantages) -> SequenceLoss:
        """Return 0, whose derivative is none: the root of |x| at 0."""
        value = (drawn.new - drawn.new.detach()).abs().sqrt().sum()
        return SequenceLoss(value=value, num_tokens=len(drawn.new), statistics={})

    with pytest.raises(DivergedError, match=r"step 1: .*group worse, member 3"):
        trainer(policy, loss=root).step([new_group(policy, REWARDS, key="worse")])
    assert torch.equal(flat(policy.weights()), before)
    assert all(each.grad is None for each in policy.parameters)


# --- going on -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [True, False])
def test_a_resumed_run_is_the_uninterrupted_one(
    base: Path,
    tmp_path: Path,
    reset: bool,  # noqa: FBT001
) -> None:
    settings = TrainerSettings(
        reset_optimizer_each_step=reset, learning_rate=1e-3, num_minibatches=2
    )
    policy = new_policy(base)
    reference = policy.weights()
    batches = [[new_group(policy, REWARDS, seed)] for seed in range(4)]
    whole = trainer(policy, settings, reference)
    for batch in batches[:2]:
        whole.step(batch)
    whole.save(tmp_path / "after-2")
    rest = [whole.step(batch).update for batch in batches[2:]]

    torch.manual_seed(99)  # a new process stands elsewhere
    again = new_policy(base)
    resumed = trainer(again, settings, reference)
    resumed.resume(tmp_path / "after-2")
    assert resumed.steps == 2
    assert [resumed.step(batch).update for batch in batches[2:]] == rest
    assert torch.equal(flat(policy.weights()), flat(again.weights()))


def test_a_step_draws_nothing_from_others(base: Path) -> None:
    policy = new_policy(base)
    group = new_group(policy, REWARDS)
    state = torch.get_rng_state()
    trainer(policy, TrainerSettings(num_minibatches=2)).step([group])
    assert torch.equal(torch.get_rng_state(), state)


def test_there_is_nothing_to_resume_from(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no step of a trainer can be read here"):
        trainer(new_policy(base)).resume(tmp_path)
