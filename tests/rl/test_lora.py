"""One LoRA policy: log-probabilities against a plain model in float64, adapters, refusals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

NEEDS = "needs the environment `rl`: nox -s rl"
pytest.importorskip("transformers", reason=NEEDS)
pytest.importorskip("peft", reason=NEEDS)

from transformers import AutoModelForCausalLM  # noqa: E402

from harness.errors import InputError  # noqa: E402
from harness.workloads.models import presets  # noqa: E402
from harness.workloads.models.example import Example  # noqa: E402
from harness.workloads.models.lora import LoraPolicy, num_trainable  # noqa: E402
from harness.workloads.models.lora_settings import Compute, Dropout, LoraSettings, Product  # noqa: E402
from harness.workloads.models.shape import ModelShape, lora_parameters  # noqa: E402

from .small import CPU, LORA, VOCABULARY, new_base, new_examples, new_policy, shaken  # noqa: E402

ROUNDING = 2e-5  # nats; float32 against float64, over some forty products in a row


def plainly(base: Path, policy: LoraPolicy, examples: Sequence[Example]) -> list[Tensor]:
    """Return log-probabilities by a model whose matrices hold the adapter, one example a time."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float64)
    weights = policy.weights()
    for name, linear in model.named_modules():
        key = f"base_model.model.{name}.lora"
        if f"{key}_A.weight" in weights:
            product = weights[f"{key}_B.weight"].double() @ weights[f"{key}_A.weight"].double()
            linear.weight.data += LORA.alpha / LORA.rank * product
    logits = [model(torch.tensor([each.tokens])).logits[0] for each in examples]
    return [
        torch.stack([row[at - 1].log_softmax(-1)[each.tokens[at]] for at in each.trained]).detach()
        for row, each in zip(logits, examples, strict=True)
    ]


def furthest(these: Sequence[Tensor], those: Sequence[Tensor]) -> float:
    pairs = zip(these, those, strict=True)
    return max(float((one.detach() - other.detach()).abs().max()) for one, other in pairs)


@pytest.mark.parametrize("product", Product)
@pytest.mark.parametrize("tokens_per_batch", [1, 60, 10_000])
def test_log_probabilities_are_a_plain_model_s(
    base: Path, product: Product, tokens_per_batch: int
) -> None:
    compute = replace(CPU, product=product, tokens_per_batch=tokens_per_batch)
    policy, examples = new_policy(base, compute=compute), new_examples(9)
    assert furthest(policy.logprobs(examples), plainly(base, policy, examples)) < ROUNDING


def test_passes_hold_what_they_may_and_every_example_once(base: Path) -> None:
    policy, examples = new_policy(base, compute=replace(CPU, tokens_per_batch=80)), new_examples(30)
    batches = policy.batches(examples)
    assert sorted(index for batch in batches for index in batch) == list(range(30))
    for batch in batches:
        longest = max(len(examples[index].tokens) for index in batch)
        assert longest * len(batch) <= 80


def test_entropies_are_of_the_whole_distribution(base: Path) -> None:
    policy = new_policy(base)
    (scores,) = policy.scores([Example(tokens=(1, 2), trained=(1,))])
    every = [Example(tokens=(1, token), trained=(1,)) for token in range(VOCABULARY)]
    logprobs = torch.cat(policy.logprobs(every)).detach()
    assert float(scores.entropies) == pytest.approx(
        float(-(logprobs.exp() * logprobs).sum()), abs=ROUNDING
    )


def test_only_the_adapter_has_gradients(base: Path) -> None:
    policy = new_policy(base)
    torch.autograd.backward(torch.cat(policy.logprobs(new_examples(2))).sum())
    assert all(each.grad is not None and each.grad.any() for each in policy.parameters)
    assert policy.num_trainable == sum(each.numel() for each in policy.weights().values())


def test_bfloat16_products_stay_near(base: Path) -> None:
    examples = new_examples(4)
    exact = new_policy(base).logprobs(examples)
    near = new_policy(base, compute=replace(CPU, bf16=True)).logprobs(examples)
    # eight bits of mantissa: logits of some ten nats to a few hundredths each, a dozen in a row
    assert 0 < furthest(exact, near) < 1.0


def test_checkpointed_gradients_are_the_same(base: Path) -> None:
    examples, gradients = new_examples(3), []
    for checkpointing in (False, True):
        policy = new_policy(base, compute=replace(CPU, gradient_checkpointing=checkpointing))
        torch.autograd.backward(torch.cat(policy.logprobs(examples)).sum())
        gradients.append([each.grad for each in policy.parameters])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_dropout_acts_only_where_it_is_asked_for(base: Path) -> None:
    examples = new_examples(2)
    for product in Product:
        policy = new_policy(base, compute=replace(CPU, product=product))
        still = policy.logprobs(examples)
        assert furthest(still, policy.logprobs(examples, Dropout.ACTIVE)) > 0.01
        assert furthest(still, policy.logprobs(examples)) == 0


def test_adapters_are_drawn_from_their_seed(base: Path) -> None:
    def drawn(seed: int) -> Tensor:
        torch.manual_seed(0)
        policy = LoraPolicy.open(base, replace(LORA, seed=seed), CPU)
        return torch.cat([each.flatten() for each in policy.weights().values()])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


# --- another adapter, for a while -----------------------------------------------------------------


def test_the_reference_answers_and_leaves_every_bit_as_it_was(base: Path) -> None:
    policy, examples = new_policy(base), new_examples(3)
    reference = shaken(policy, seed=2)
    before = policy.weights()
    answers = policy.reference_logprobs(examples, reference)
    assert all(torch.equal(before[name], value) for name, value in policy.weights().items())
    assert not any(each.requires_grad for each in answers)
    policy.put(reference)
    assert furthest(answers, policy.logprobs(examples)) == 0


def test_a_pass_that_fails_leaves_the_weights_too(base: Path) -> None:
    policy = new_policy(base)
    before = policy.weights()
    with pytest.raises(IndexError), policy.using(policy.no_weights()):
        policy.logprobs([Example(tokens=(VOCABULARY, 1), trained=(1,))])
    assert all(torch.equal(before[name], value) for name, value in policy.weights().items())


def test_without_weights_it_is_the_base(base: Path) -> None:
    policy, examples = new_policy(base), new_examples(3)
    bare = policy.reference_logprobs(examples, policy.no_weights())
    unadapted = LoraPolicy.open(base, LORA, CPU)
    assert furthest(bare, unadapted.logprobs(examples)) == 0


# --- files ----------------------------------------------------------------------------------------


def test_a_saved_adapter_gives_the_same_log_probabilities(base: Path, tmp_path: Path) -> None:
    policy, examples = new_policy(base), new_examples(3)
    policy.save(tmp_path / "step-1")
    names = {path.name for path in (tmp_path / "step-1").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}
    again = LoraPolicy.open(base, LORA, CPU)
    again.load(tmp_path / "step-1")
    assert furthest(policy.logprobs(examples), again.logprobs(examples)) == 0


def test_peft_itself_reads_what_was_saved(base: Path, tmp_path: Path) -> None:
    import peft  # noqa: PLC0415 - only where it is installed

    policy, example = new_policy(base), Example(tokens=(5, 6, 7), trained=(1, 2))
    policy.save(tmp_path / "saved")
    model = AutoModelForCausalLM.from_pretrained(base)
    theirs = peft.PeftModel.from_pretrained(model, tmp_path / "saved").eval()
    rows = theirs(torch.tensor([example.tokens])).logits[0].log_softmax(-1)
    assert furthest([torch.stack([rows[0, 6], rows[1, 7]])], policy.logprobs([example])) < ROUNDING


def test_saving_twice_writes_the_same_bytes(base: Path, tmp_path: Path) -> None:
    policy = new_policy(base)
    for name in ("one", "other"):
        policy.save(tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "other" / file.name).read_bytes()


@pytest.mark.parametrize(
    ("lora", "complaint"),
    [
        (replace(LORA, rank=8, alpha=16), "key: r"),
        (replace(LORA, alpha=16), "lora_alpha"),
        (replace(LORA, targets=("q_proj",)), "target_modules"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(
    base: Path, tmp_path: Path, lora: LoraSettings, complaint: str
) -> None:
    new_policy(base, lora).save(tmp_path / "other")
    policy = new_policy(base)
    before = policy.weights()
    with pytest.raises(InputError) as refused:
        policy.load(tmp_path / "other")
    keys = {problem.key for problem in refused.value.problems}
    assert complaint.removeprefix("key: ") in keys
    assert all(torch.equal(before[name], value) for name, value in policy.weights().items())


def test_an_adapter_of_another_base_is_refused(base: Path, tmp_path: Path) -> None:
    other = new_base(tmp_path / "base", seed=9)
    new_policy(other).save(tmp_path / "adapter")
    with pytest.raises(InputError, match="trained on another base"):
        new_policy(base).load(tmp_path / "adapter")


def test_an_adapter_of_another_depth_names_the_first_tensor(base: Path, tmp_path: Path) -> None:
    new_policy(new_base(tmp_path / "base", layers=3)).save(tmp_path / "adapter")
    with pytest.raises(InputError, match=r"layers\.2\..*: 14 of 28 tensors have another shape"):
        new_policy(base).load(tmp_path / "adapter")


def test_half_an_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    policy = new_policy(base)
    policy.save(tmp_path / "adapter")
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="no adapter can be read here"):
        policy.load(tmp_path / "adapter")


def test_an_adapter_of_another_tool_is_judged_by_its_shapes(base: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file  # noqa: PLC0415 - only where it is installed

    policy = new_policy(base)
    policy.save(tmp_path / "adapter")
    save_file(dict(policy.weights()), tmp_path / "adapter" / "adapter_model.safetensors")
    policy.load(tmp_path / "adapter")


def test_no_model_is_a_mistake_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path}: no model is here"):
        LoraPolicy.open(tmp_path, LORA, CPU)


def test_a_misspelt_target_is_named(base: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'down_proj'"):
        LoraPolicy.open(base, replace(LORA, targets=("q_proj", "dwn_proj")), CPU)


# --- how many are trained -------------------------------------------------------------------------


def config(shape: ModelShape) -> dict[str, object]:
    return {
        "model_type": "qwen2",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.d_model,
        "intermediate_size": shape.d_ff,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "tie_word_embeddings": shape.tied,
    }


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        (presets.QWEN25_7B, 40_370_176),  # articles 32 to 34
        (presets.QWEN25_3B, 29_933_568),  # article 25
    ],
)
def test_the_articles_adapters_have_their_printed_size(shape: ModelShape, parameters: int) -> None:
    lora = LoraSettings()
    assert num_trainable(config(shape), lora) == parameters
    assert lora_parameters(shape, lora.rank) == parameters


def test_the_small_policy_s_adapter_agrees_with_the_arithmetic(base: Path) -> None:
    stored = json.loads((base / "config.json").read_text(encoding="utf-8"))
    assert num_trainable(stored, LORA) == LoraPolicy.open(base, LORA, Compute()).num_trainable
