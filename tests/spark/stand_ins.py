"""Stand-ins of published models: their architectures, with some 100,000 parameters.

``python -m tests.spark.stand_ins FOLDER NAME...`` makes some of them.

A random model never closes a block of shell, so no command of its would reach a sandbox. These say
something: a phrase is one token, and the output layer makes it likely behind the chat template's
last token. The layers between are random and small, so that every trained matrix has a gradient.
Tokenizers and chat templates are written here; what is said where follows the published ones.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from harness.workloads.envs.files.protocol import STOP_WORD, SYSTEM_PROMPT

_WIDTH, _LAYERS, _HEADS, _KV_HEADS = 64, 2, 4, 2
_CONTEXT = 8192
_WORDS = 300  # of the vocabulary, beside bytes, phrases and marks
_LOUDNESS = 14.0  # logit of what is said: near certain among some hundred tokens at temperature 1

CHATML = """\
{%- if messages[0].role != 'system' %}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}"""

# what a reply thought is not shown again once a question follows
CHATML_THINKING = """\
{%- for message in messages %}
{%- set said = message.content.split('</think>')[-1].lstrip('\\n') if message.role == 'assistant' \
else message.content %}
{{- '<|im_start|>' + message.role + '\\n' + said + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}
{{- '<think>\\n\\n</think>\\n\\n' }}
{%- endif %}
{%- endif %}"""

HEADERS = """\
{{- bos_token }}
{%- set said = messages %}
{%- set system = '' %}
{%- if messages[0].role == 'system' %}
{%- set system = messages[0].content %}
{%- set said = messages[1:] %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: 26 Jul 2024\\n\\n' + system + \
'<|eot_id|>' }}
{%- for message in said %}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content.strip() + \
'<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """What a stand-in is made of.

    Attributes:
        architecture: the published model's; a class of transformers.
        chat_template: how its tokenizer writes a conversation.
        marks: its special tokens; the last one ends a message.
        says: what it replies, and how often.
        begins: its token before every conversation; empty for none.
    """

    architecture: type[PreTrainedModel]
    chat_template: str
    marks: tuple[str, ...]
    says: Mapping[str, float] = field(default_factory=dict)
    begins: str = ""


def block(command: str) -> str:
    """Return a reply that gives one command."""
    return f"```bash\n{command}\n```"


TASK = {
    "intent": "Make two directories, done and notes, beside the files that are here.",
    "skills_required": ["dir.create"],
    "verifiable_assertions": [
        {"kind": "file_exists", "path": "done"},
        {"kind": "file_exists", "path": "notes"},
    ],
    "difficulty": "easy",
    "estimated_steps": 2,
}
# The likeliest three are alike, so that a low temperature and top_p leave a choice. About a third
# of the rollouts make both directories: pool and held-out tasks, and groups of unlike rewards.
_FILES = {
    block("mkdir -p done"): 0.25,
    block("mkdir -p notes"): 0.25,
    STOP_WORD: 0.25,
    block("ls"): 0.2,
    "Let me think about it.": 0.05,
}
_SEARCHES = {
    "<think>a fact is missing</think><search>birth place</search>": 0.6,
    "<think>enough</think><answer>The answer is \\boxed{Bela}</answer>": 0.3,
    "I do not know.": 0.1,
}
_CHATML_MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_HEADER_MARKS = (
    *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>"),
    "<|eot_id|>",
)


def _qwen2(says: Mapping[str, float]) -> StandIn:
    return StandIn(
        architecture=Qwen2ForCausalLM, chat_template=CHATML, marks=_CHATML_MARKS, says=says
    )


def _qwen3(says: Mapping[str, float]) -> StandIn:
    return StandIn(
        architecture=Qwen3ForCausalLM, chat_template=CHATML_THINKING, marks=_CHATML_MARKS, says=says
    )


def _llama(says: Mapping[str, float]) -> StandIn:
    return StandIn(
        architecture=LlamaForCausalLM,
        chat_template=HEADERS,
        marks=_HEADER_MARKS,
        says=says,
        begins="<|begin_of_text|>",
    )


STAND_INS: Mapping[str, StandIn] = {
    "Qwen/Qwen2.5-7B-Instruct": _qwen2(_FILES),
    "Qwen/Qwen2.5-0.5B-Instruct": _qwen2(_FILES),
    "Qwen/Qwen2.5-3B-Instruct": _qwen2({'{"knob": "d_model", "new_value": 768}': 1.0}),
    "Qwen/Qwen3-4B": _qwen3(_SEARCHES),
    "Qwen/Qwen3-0.6B": _qwen3(_SEARCHES),
    "meta-llama/Llama-3.1-8B-Instruct": _llama(_FILES),
    "meta-llama/Llama-3.1-8B": _llama({}),
    # the published author mixes state space and attention; here only what it says matters
    "nvidia/nemotron-nano-9b-v2": _llama({json.dumps(TASK): 1.0}),
}
E5 = "intfloat/e5-base-v2"


PUBLISHED_SHAPES: Mapping[str, Mapping[str, int]] = {  # of their config.json
    "Qwen/Qwen2.5-0.5B-Instruct": {
        "vocab_size": 151_936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
    },
}


def make(folder: Path, name: str, *, published_shape: bool = False) -> Path:
    """Write the stand-in of a published model below `folder`, as a download would lie there.

    Args:
        folder: of all models.
        name: the published model's.
        published_shape: its weights are as many as the published ones.
    """
    place = folder / name
    torch.manual_seed(0)
    if name == E5:
        _encoder().save_pretrained(place)
        _wordpiece().save_pretrained(place)
        return place
    made = STAND_INS[name]
    tokenizer = _tokenizer(made)
    shape = PUBLISHED_SHAPES[name] if published_shape else {}
    model = made.architecture(_config(made, tokenizer, shape))
    if made.says:
        _speak(model, tokenizer, made)
    model.to(torch.bfloat16).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def _tokenizer(made: StandIn) -> PreTrainedTokenizerFast:
    text = Tokenizer(models.BPE())
    text.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    text.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + _WORDS, initial_alphabet=alphabet, show_progress=False
    )
    text.train_from_iterator([SYSTEM_PROMPT, json.dumps(TASK)] * 2, trainer)
    text.add_special_tokens([AddedToken(mark, special=True) for mark in made.marks])
    text.add_tokens([AddedToken(phrase, normalized=False) for phrase in made.says])
    return PreTrainedTokenizerFast(
        tokenizer_object=text,
        chat_template=made.chat_template,
        eos_token=made.marks[-1],
        pad_token=made.marks[0],
        bos_token=made.begins or None,
    )


def _config(made: StandIn, tokenizer: PreTrainedTokenizerFast, shape: Mapping[str, int]) -> Any:
    kind = {
        Qwen2ForCausalLM: Qwen2Config,
        Qwen3ForCausalLM: Qwen3Config,
        LlamaForCausalLM: LlamaConfig,
    }[made.architecture]
    more = {"head_dim": 2 * _WIDTH // _HEADS} if kind is Qwen3Config else {}
    small = {
        "vocab_size": len(tokenizer),
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _KV_HEADS,
    }
    return kind(
        **{**small, **shape, **more},
        max_position_embeddings=_CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


@torch.no_grad()
def _speak(model: Any, tokenizer: PreTrainedTokenizerFast, made: StandIn) -> None:
    """Let the output layer follow the last token of a prompt by a phrase, and that by the end."""
    question = [{"role": "user", "content": "?"}]
    prompt = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    last = tokenizer.encode(str(prompt), add_special_tokens=False)[-1]
    rows = model.get_input_embeddings().weight
    width = rows.shape[1]
    rows.copy_(torch.randn_like(rows))
    rows.mul_(width**0.5 / rows.norm(dim=1, keepdim=True))  # as long as the last norm makes them
    out = model.get_output_embeddings().weight
    ids = {phrase: tokenizer.convert_tokens_to_ids(phrase) for phrase in made.says}
    for phrase, share in made.says.items():
        out[ids[phrase]] = (_LOUDNESS + torch.tensor(share).log()) * rows[last] / width
    end = tokenizer.eos_token_id
    for token in ids.values():
        out[end] += _LOUDNESS * rows[token] / width


def _encoder() -> BertModel:
    return BertModel(
        BertConfig(
            vocab_size=len(_wordpiece()),
            hidden_size=_WIDTH,
            intermediate_size=2 * _WIDTH,
            num_hidden_layers=_LAYERS,
            num_attention_heads=_HEADS,
            max_position_embeddings=512,
        )
    )


def _wordpiece() -> PreTrainedTokenizerFast:
    letters = sorted({chr(code) for code in range(33, 127)})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    text = Tokenizer(
        models.WordPiece({word: at for at, word in enumerate(words)}, unk_token="[UNK]")
    )
    text.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(
        tokenizer_object=text, pad_token="[PAD]", unk_token="[UNK]", model_max_length=512
    )


if __name__ == "__main__":
    for named in sys.argv[2:]:
        make(Path(sys.argv[1]), named)
