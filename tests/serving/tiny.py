"""``python tiny.py FOLDER``: a language model for one test session, and what must come out of it.

Makes a random Qwen2 with a tokenizer of bytes, two adapters in peft's format, and the greedy
replies of all three as transformers computes them, the adapters merged into the weights.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

BYTES = 256
RANK, ALPHA = 4, 8
TARGETS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")
# longer than a block of vLLM's prefix cache on CPU, 128 tokens
PROMPT = list(b"The harness measures, and says what it found. " * 4)
REPLY_TOKENS = 8

Weights = Mapping[str, torch.Tensor]


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = qwen2()
    model.generation_config.update(do_sample=True, top_k=1)  # a hidden default, to be ignored
    model.save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    replies = {"base": reply(model)}
    for name in ("first", "second"):
        weights = dict(adapter(model))
        save_adapter(folder / name, weights)
        replies[name] = reply(merged(model, weights))
    expected = {"prompt": PROMPT, "replies": replies}
    (folder / "expected.json").write_text(json.dumps(expected), encoding="utf-8")


def qwen2() -> Qwen2ForCausalLM:
    """Return the model, with weights so far apart that the likeliest token is never in doubt."""
    config = Qwen2Config(
        vocab_size=BYTES,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        initializer_range=0.2,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=0,
        dtype="float32",
    )
    return Qwen2ForCausalLM(config).eval()


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer whose tokens are bytes: text of any language, and nothing to train."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(alphabet)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token=alphabet[0])


def adapter(model: Qwen2ForCausalLM) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the matrices A (rank x in) and B (out x rank) of every adapted layer."""
    for layer, block in enumerate(model.model.layers):
        for target in TARGETS:
            linear = block.get_submodule(target)
            name = f"model.layers.{layer}.{target}"
            yield f"{name}.lora_A", 0.2 * torch.randn(RANK, linear.in_features)
            yield f"{name}.lora_B", 0.2 * torch.randn(linear.out_features, RANK)


def save_adapter(folder: Path, weights: Weights) -> None:
    """Write the two files that peft would."""
    folder.mkdir()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(target.rpartition(".")[2] for target in TARGETS),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    named = {f"base_model.model.{name}.weight": value for name, value in weights.items()}
    save_file(named, folder / "adapter_model.safetensors")


def merged(model: Qwen2ForCausalLM, weights: Weights) -> Qwen2ForCausalLM:
    """Return a copy of the model with W + alpha / rank * B A for every adapted W."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for name in {name.rpartition(".")[0] for name in weights}:
        change = weights[f"{name}.lora_B"] @ weights[f"{name}.lora_A"]
        state[f"{name}.weight"] += ALPHA / RANK * change
    copy = Qwen2ForCausalLM(model.config).eval()
    copy.load_state_dict(state)
    return copy


@torch.no_grad()
def reply(model: Qwen2ForCausalLM) -> dict[str, list[float]]:
    """Return the likeliest tokens, their log-probabilities, and each one's lead on the second."""
    tokens, logprobs, leads = list(PROMPT), [], []
    for _ in range(REPLY_TOKENS):
        logits = model(torch.tensor([tokens])).logits[0, -1]
        best, second = torch.log_softmax(logits, dim=-1).topk(2).values.tolist()
        tokens.append(int(logits.argmax()))
        logprobs.append(best)
        leads.append(best - second)
    return {"tokens": tokens[len(PROMPT) :], "logprobs": logprobs, "leads": leads}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
