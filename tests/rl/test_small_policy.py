"""The small policy: its tokenizer, the heads that it starts with, and what its recipe makes."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch

NEEDS = "needs the environment `rl`: nox -s rl"
pytest.importorskip("transformers", reason=NEEDS)

from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoTokenizer, Qwen2ForCausalLM  # noqa: E402

from harness.workloads.tiny_models import files  # noqa: E402
from harness.workloads.tiny_models.build import FILES, mean_losses  # noqa: E402
from harness.workloads.tiny_models.checkpoint import read_card, tiny_model  # noqa: E402
from harness.workloads.tiny_models.conversations import Conversations  # noqa: E402
from harness.workloads.tiny_models.files import draw, messages_of, renamed  # noqa: E402
from harness.workloads.tiny_models.model import new_model, shape_of  # noqa: E402
from harness.workloads.tiny_models.samples import SequenceSampler  # noqa: E402
from harness.workloads.tiny_models.skill import held_out, measure  # noqa: E402
from harness.workloads.tiny_models.tokenizer import save_tokenizer, train_tokenizer, word_pieces  # noqa: E402
from harness.workloads.tiny_models.train import train  # noqa: E402

# Training is chaotic: another machine's sums differ in the last bit, and what follows drifts. These
# are the first 50 steps, before the heads start to copy, where the loss falls slowly.
FOLDER, RECIPE = tiny_model("files"), FILES.recipe
EARLY, EARLY_BAND = 50, 0.1
LEARNT, LEARNT_LOSS = 200, 0.3  # after copying; without the heads it is above 4


def file_tokenizer() -> Tokenizer:
    return train_tokenizer(files.texts(), files.PHRASES, files.VOCABULARY)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


@pytest.fixture(scope="module")
def policy() -> Qwen2ForCausalLM:
    torch.set_num_threads(1)
    return Qwen2ForCausalLM.from_pretrained(tiny_model("files"), dtype=torch.float32).eval()


def test_the_tokenizer_is_trained_to_the_same_bytes(tmp_path: Path) -> None:
    save_tokenizer(file_tokenizer(), tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (FOLDER / path.name).read_bytes()


def test_what_transformers_loads_cuts_and_templates_as_the_training_did(
    tokenizer: Tokenizer,
) -> None:
    loaded = AutoTokenizer.from_pretrained(FOLDER)
    assert len(loaded) == tokenizer.get_vocab_size()
    random, pieces = Random(1), word_pieces(tokenizer)  # noqa: S311
    sampler = SequenceSampler(tokenizer, 1, files.conversations)
    for _ in range(200):
        messages = messages_of(renamed(draw(random), random, pieces))
        chat = [{"role": each.role.value, "content": each.content} for each in messages]
        text = loaded.apply_chat_template(chat, tokenize=False)
        tokens = loaded.encode(text, add_special_tokens=False)
        assert tuple(tokens) == sampler.encode(messages).tokens
        assert loaded.decode(tokens) == text


def test_a_name_has_the_same_tokens_wherever_it_stands(tokenizer: Tokenizer) -> None:
    name = tokenizer.encode("tundra").ids
    for before in ("", " ", "/", "-", "notes-", "echo '", "Replace every '", " by '", "sed -i 's/"):
        whole = tokenizer.encode(f"{before}tundra").ids
        assert whole[len(whole) - len(name) :] == name


def test_no_byte_is_unknown(tokenizer: Tokenizer) -> None:
    text = "Grüße\t→ 't don't\n\n"
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_a_new_model_has_heads_that_look_one_back_and_heads_that_look_for_the_same(
    tokenizer: Tokenizer,
) -> None:
    model = new_model(shape_of(tokenizer), seed=0).eval()
    model.set_attn_implementation("eager")
    said = torch.randperm(500, generator=torch.Generator().manual_seed(0))[:30] + 100
    with torch.inference_mode():
        first, second = model(said.repeat(2)[None], output_attentions=True).attentions[:2]
    back = first[0, :3, 1:].diagonal(dim1=1, dim2=2)  # weight on the previous position
    assert back.min() > 0.9
    seen_before = torch.arange(31, 60)  # in the second half; 29 back is what followed it
    followed = second[0, :3].mean(0)[seen_before, seen_before - 29]
    assert followed.mean() > 2 / 30  # a head without a preference gives at most 1 / 30


def test_conversations_compute_what_transformers_computes(policy: Qwen2ForCausalLM) -> None:
    text = torch.randint(3, 700, (2, 50), generator=torch.Generator().manual_seed(0))
    both = Conversations(policy, count=2, capacity=64)
    both.extend([0, 1], [text[0, :20].tolist(), text[1, :7].tolist()])
    both.extend([1], [text[1, 7:45].tolist()])
    both.extend([0], [text[0, 20:40].tolist()])
    last = both.extend([1, 0], [text[1, 45:].tolist(), text[0, 40:].tolist()])
    with torch.inference_mode():
        expected = policy(text).logits[:, -1]
    assert torch.allclose(last, expected.flip(0), atol=1e-4)


def test_the_policy_can_do_what_its_card_says(
    policy: Qwen2ForCausalLM, tokenizer: Tokenizer
) -> None:
    found = measure(policy, tokenizer, held_out(), temperature=0.0, seed=RECIPE.seed)
    (stated,) = (
        each for each in read_card(FOLDER).eval_results["base"] if each["temperature"] == 0.0
    )
    # greedy, so only near ties differ from machine to machine: 3 tasks of 158
    assert found.pass_rate == pytest.approx(stated["pass_rate"], abs=3 / 158)
    assert found.assertion_pass_rate == pytest.approx(stated["assertion_pass_rate"], abs=0.02)
    assert found.stop_early == pytest.approx(stated["stop_early"], abs=0.02)


@pytest.mark.slow
def test_the_recipe_still_begins_as_it_did() -> None:
    torch.set_num_threads(1)
    losses: list[float] = []
    tokenizer = file_tokenizer()
    sampler = SequenceSampler(tokenizer, RECIPE.seed, files.conversations)
    copying = train(RECIPE, tokenizer, sampler, lambda progress: losses.append(progress.loss))
    phase, _ = next(copying)
    found, stated = mean_losses(losses), read_card(FOLDER).losses[phase.name]
    early = EARLY // (len(losses) // len(found))
    assert found[:early] == pytest.approx(stated[:early], abs=EARLY_BAND)
    assert max(found[-1], stated[-1]) < LEARNT_LOSS
