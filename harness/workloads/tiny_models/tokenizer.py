"""A tiny model's tokenizer: byte pairs within words, one token for each phrase of the protocol.

Only letters are joined: every digit, space and sign is its own token, so that a name has the same
tokens in the listing, in the task and in a command, and can be copied token by token.

What loads a model of Qwen2's kind loads a tokenizer of its kind too, whatever the folder says: it
takes the vocabulary and the merges, and cuts texts as Qwen2 does. So ours is of that kind. Its cuts
fall where ours do, except a quotation mark before certain letters, as in "'t"; therefore every
opening mark is inside one of the phrases, which are cut out first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.trainers import BpeTrainer

END, USER, ASSISTANT = "<|end|>", "<|user|>", "<|assistant|>"
SPECIAL = (END, USER, ASSISTANT)
MAX_TOKENS = 2048  # of a conversation
_OURS = r"[A-Za-z]+|[^A-Za-z]"
# of Qwen2TokenizerFast, transformers 5.19
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# the system's message, which the brief wording does not have, is spoken by the user
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|assistant|>' if message.role == 'assistant' else '<|user|>' }}"
    "{{ message.content }}<|end|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(texts: Iterable[str], phrases: Iterable[str], vocabulary: int) -> Tokenizer:
    """Train the tokenizer; the same bytes on every machine.

    Args:
        texts: to train it on.
        phrases: that are one token each.
        vocabulary: tokens before the phrases, all bytes included.
    """
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = _cutting(_OURS)
    tokenizer.decoder = ByteDecoder()
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = _cutting(_QWEN2)
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in phrases])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write what transformers and vLLM load a tokenizer from."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": END,
        "pad_token": END,
        "unk_token": None,
        "model_max_length": MAX_TOKENS,
        "clean_up_tokenization_spaces": False,
    }
    text = json.dumps(config, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")


def _cutting(pattern: str) -> Sequence:
    """Cut texts into the matches of a pattern, and these into bytes that pairs are made of."""
    cut = Split(Regex(pattern), behavior="isolated")
    return Sequence([cut, ByteLevel(add_prefix_space=False, use_regex=False)])


def word_pieces(tokenizer: Tokenizer) -> list[str]:
    """Return every token that is letters only, in the order of their numbers: what names are of."""
    by_number = sorted(
        tokenizer.get_vocab(with_added_tokens=False).items(), key=lambda item: item[1]
    )
    return [token for token, _ in by_number if token.isascii() and token.isalpha()]
