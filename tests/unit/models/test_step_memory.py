"""The shapes that memory is stated by: those of the published files, and what they come to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.workloads.models.presets import QWEN3_06B, QWEN25_05B
from harness.workloads.models.shape import num_parameters, shape_in
from harness.workloads.models.step_memory import cache_gib, published_shape
from harness.workloads.tiny_models.checkpoint import tiny_model

# of Qwen/Qwen2.5-7B-Instruct, without what decides no shape
QWEN = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
    "vocab_size": 152064,
}


def test_small_published_models_have_the_parameters_of_their_cards() -> None:
    assert num_parameters(QWEN25_05B) == 494_032_768
    assert num_parameters(QWEN3_06B) == 596_049_920


def test_a_shape_is_read_from_the_file_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN), encoding="utf-8")
    found, known = shape_in(tmp_path), published_shape("Qwen/Qwen2.5-7B-Instruct@0123")
    assert known is not None
    assert num_parameters(found) == num_parameters(known)
    assert (found.kv_width, found.num_hidden_layers) == (known.kv_width, known.num_hidden_layers)
    assert shape_in(tiny_model("files")).qkv_bias


def test_a_file_that_describes_no_transformer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="describes no transformer: KeyError"):
        shape_in(tmp_path)


def test_a_cache_holds_every_reply_at_full_length_unless_it_is_given() -> None:
    shape = published_shape("Qwen/Qwen2.5-7B-Instruct")
    assert shape is not None
    # 28 layers, keys and values of 4 heads of 128, two bytes each: 56 KiB a token
    assert cache_gib(shape, "bfloat16", 0.0, 8192, 8) == 56 * 1024 * 8192 * 8 / 2**30
    assert cache_gib(shape, "bfloat16", 2.5, 8192, 8) == 2.5
    assert published_shape("some/Other@1") is None
