"""Dialogues with real tokenizers: the small policy's, and one whose template is that of Qwen2.5."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

NEEDS = "needs the environment `rl`: nox -s rl"
pytest.importorskip("transformers", reason=NEEDS)

from tokenizers import AddedToken, Tokenizer  # noqa: E402
from tokenizers.decoders import ByteLevel as ByteLevelDecoder  # noqa: E402
from tokenizers.models import BPE  # noqa: E402
from tokenizers.pre_tokenizers import ByteLevel  # noqa: E402
from tokenizers.trainers import BpeTrainer  # noqa: E402
from transformers import AutoTokenizer, PreTrainedTokenizerFast  # noqa: E402

from harness.experiments.a32_34.sft_data import retold  # noqa: E402
from harness.experiments.a32_34.tasks import ORACLE  # noqa: E402
from harness.sandbox.in_memory import MemorySandbox  # noqa: E402
from harness.workloads.envs.files.environment import (  # noqa: E402
    FileEnvironment,
    FileSettings,
)
from harness.workloads.envs.files.personas import slots  # noqa: E402
from harness.workloads.envs.files.protocol import (  # noqa: E402
    STOP_WORD,
    SYSTEM_PROMPT,
    PromptStyle,
    conversation,
)
from harness.workloads.envs.files.task import Task  # noqa: E402
from harness.workloads.envs.files.template_author import TemplateAuthor  # noqa: E402
from harness.workloads.inference.chat_template import ChatTemplate, load_chat_template  # noqa: E402
from harness.workloads.inference.engine import Finish, Reply  # noqa: E402
from harness.workloads.rl.runner import run_episode  # noqa: E402
from harness.workloads.tiny_models.checkpoint import tiny_model  # noqa: E402

# as Qwen2.5's: a conversation without a system message gets one, and every message ends alike
CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nBe helpful.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def chatml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder, as far as a template needs it."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(vocab_size=600, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([SYSTEM_PROMPT, *(task.intent for task in tasks())], trainer)
    special = [AddedToken(text, special=True) for text in ("<|im_start|>", "<|im_end|>")]
    tokenizer.add_special_tokens(special)
    folder = tmp_path_factory.mktemp("chatml")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")
    fast.chat_template = CHATML
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(params=["small", "chatml"])
def folder(request: pytest.FixtureRequest) -> Path:
    """Each model in turn."""
    if request.param == "small":
        return tiny_model("files")
    given: Path = request.getfixturevalue("chatml")
    return given


def tasks() -> list[Task]:
    return [TemplateAuthor().write(slot) for slot in slots(per_persona=2)]


@pytest.mark.parametrize("prompt_style", list(PromptStyle))
def test_piece_by_piece_is_the_whole_conversation(folder: Path, prompt_style: PromptStyle) -> None:
    template = load_chat_template(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with FileEnvironment(MemorySandbox, FileSettings(prompt_style=prompt_style)) as environment:
        for task in tasks():
            rollout = run_episode(ORACLE, environment, task)
            turns = rollout.episode.turns
            said = conversation(task.intent, sorted(task.workspace), turns, prompt_style)
            given = [{"role": each.role.value, "content": each.content} for each in said[:-1]]
            whole = tokenizer.apply_chat_template(given, tokenize=False, add_generation_prompt=True)
            pieces = retold(rollout, task, template, prompt_style).tokens
            expected = tokenizer.encode(whole, add_special_tokens=False)
            assert list(pieces) == [*expected, *template.said(STOP_WORD)]


def test_what_was_drawn_stays_as_it_was_drawn(folder: Path) -> None:
    template = load_chat_template(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    letters = [tokenizer.encode(letter, add_special_tokens=False)[0] for letter in "move"]
    assert letters != tokenizer.encode("move", add_special_tokens=False)
    reply = (*letters, template.end)
    assert template.text(Reply(tokens=reply, logprobs=(0.0,) * 5)) == "move"
    cut = Reply(tokens=tuple(letters), logprobs=(0.0,) * 4, finish=Finish.LENGTH)
    assert template.text(cut) == "move"
    assert template.following(cut.tokens, "ok") == (
        template.end,
        *template.following(reply, "ok"),
    )


def test_the_end_is_the_models_own(folder: Path) -> None:
    template = load_chat_template(folder)
    assert template.end == AutoTokenizer.from_pretrained(folder).eos_token_id
    said = template.said(STOP_WORD)
    assert said == (*template.exactly(STOP_WORD), template.end)


def test_threads_may_share_a_dialogue(folder: Path) -> None:
    template = load_chat_template(folder)
    texts = [f"exit {random.Random(n).random()}" for n in range(200)]  # noqa: S311 - no secret
    alone = [template.following((), text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: template.following((), text), texts)) == alone


def test_a_piece_takes_less_than_a_few_milliseconds(folder: Path) -> None:
    template = load_chat_template(folder)
    template.following((), "exit 0")
    began = time.process_time()
    for _ in range(50):
        template.following((), "exit 0")
    assert (time.process_time() - began) / 50 < 0.01


def test_the_small_policy_says_phrases_in_one_token() -> None:
    template: ChatTemplate = load_chat_template(tiny_model("files"))
    assert len(template.exactly(STOP_WORD)) == 1
    assert len(template.said("```bash\nmkdir -p notes\n```")) < 9
