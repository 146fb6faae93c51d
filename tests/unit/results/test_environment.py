from __future__ import annotations

import json
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records import ImageRef, Profile, RunSpec, from_json, to_json
from harness.results.environment import (
    RunEnvironment,
    capture,
    clock_warning,
    command_line,
    recorded_variables,
)
from harness.results.interpreter import this_interpreter
from harness.results.redact import HIDDEN, redact, redact_arguments
from harness.runtime.host import probe_host

SECRETS = (
    "hf_" + "aB3" * 11,
    "nvapi-" + "Ab_3-" * 10,
    "sk-proj-" + "abcDEF123" * 4,
    "ghp_" + "a1B2" * 9,
    "glpat-" + "a1b2c3d4e5f6g7h8i9j0",
    "AKIA" + "ABCDEFGH12345678",
    "eyJhbGciOi.eyJzdWIiOiIx.SflKxwRJSMeKKF2QT4",
    "Zm9vYmFyQmF6MTIzNDU2Nzg5MGFiY2RlZkdISUpLTE0",
)
HARMLESS = (
    "sha256:" + "0123456789abcdef" * 4,
    "0123456789abcdef" * 4,
    "Qwen/Qwen2.5-Coder-32B-Instruct-GPTQ-Int4",
    "nvcr.io/nvidia/pytorch@sha256:" + "ab" * 32,
    "--max-tokens=512",
    "batch_size=32",
    "scenarios/a34-t2po/scenario.yaml",
    "https://example.org:8000/v1/models",
)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "using {} now", "url?x={}&y=1", "('{}',)"])
def test_what_has_the_form_of_a_key_is_hidden(secret: str, around: str) -> None:
    assert redact(around.format(secret)) == around.format(HIDDEN)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("HF_TOKEN=short", "HF_TOKEN=***"),
        ("password: hunter2, next", "password: ***, next"),
        ('{"apiKey": "abc", "n": 1}', '{"apiKey": "***", "n": 1}'),
        ("accessToken=abc", "accessToken=***"),
        ("Authorization: Bearer abcdefgh12", "Authorization: Bearer ***"),
        ("https://me:pass@host/x", "https://***@host/x"),
        ("https://host/x?token=abc&y=1", "https://host/x?token=***&y=1"),
        ("--api-key=abc", "--api-key=***"),
    ],
)
def test_what_is_named_a_secret_is_hidden(text: str, hidden: str) -> None:
    assert redact(text) == hidden


@pytest.mark.parametrize("text", HARMLESS)
def test_what_results_need_stays(text: str) -> None:
    assert redact(text) == text


def test_a_private_key_is_hidden_whole() -> None:
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\ndef\n-----END OPENSSH PRIVATE KEY-----"
    assert redact(f"before\n{key}\nafter") == "before\n***\nafter"


def test_a_long_word_costs_no_more_than_its_length() -> None:
    for text in ("a" * 200_000, "a-" * 100_000, "aB3" * 60_000, "x://" + "a" * 200_000):
        began = time.thread_time()
        redact(text)
        assert time.thread_time() - began < 2.0  # a quadratic pattern takes minutes


@given(st.text())
def test_redaction_is_stable(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(st.lists(st.sampled_from(["run", "--token", "--seed", "-v", *SECRETS]), max_size=6))
def test_no_secret_survives_in_a_command_line(arguments: list[str]) -> None:
    shown = redact_arguments(arguments)
    assert len(shown) == len(arguments)
    assert not set(SECRETS) & set(shown)


def test_the_value_after_a_secret_option_is_hidden() -> None:
    shown = redact_arguments(["run", "--api-key", "abc", "--seed", "3", "--hf-token", "-x"])
    assert shown == ("run", "--api-key", HIDDEN, "--seed", "3", "--hf-token", HIDDEN)


def test_the_home_folder_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert redact("--out /home/somebody/x") == "--out ~/x"
    monkeypatch.setenv("HOME", "/")
    assert redact("--out /srv/x") == "--out /srv/x"


def test_the_command_line_says_no_place_of_the_tree(tmp_path: Path) -> None:
    shown = command_line(["/opt/venv/bin/harness", "run", f"{tmp_path}/scenarios/a34"], tmp_path)
    assert shown == ("harness", "run", "./scenarios/a34")


def test_variables_are_recorded_by_an_allow_list() -> None:
    given = {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "0",
        "VLLM_BATCH_INVARIANT": "1",
        "TORCH_LOGS": f"see {SECRETS[0]}",
        "VLLM_API_KEY": "abc",
        "HF_TOKEN": "abc",
        "PATH": "/bin",
        "MY_NOTES": "private",
    }
    assert recorded_variables(given) == {
        "CUDA_VISIBLE_DEVICES": "0",
        "OMP_NUM_THREADS": "1",
        "TORCH_LOGS": "see ***",
        "VLLM_BATCH_INVARIANT": "1",
    }


def test_the_interpreter_lists_its_packages_once() -> None:
    interpreter = this_interpreter()
    assert interpreter is this_interpreter()
    assert re.fullmatch(r"\w+ 3\.\d+\.\d+\S*", interpreter.python)
    assert interpreter.packages["pytest"] == pytest.__version__
    assert list(interpreter.packages) == sorted(interpreter.packages, key=str.lower)
    assert (interpreter.torch_record is None) == ("torch" not in interpreter.packages)


def test_an_environment_holds_no_secret_and_survives_json(
    spark: Path, fake_nvml: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/x/harness", "run", "a34", "--token", "abc123"])
    monkeypatch.setenv("VLLM_API_KEY", "abc123")
    spec = RunSpec(
        scenario="a34",
        profile=Profile.SPARK,
        workload="noop",
        params={},
        seed=7,
        image=ImageRef(name="torch", digest="sha256:" + "ab" * 32),
    )
    host = probe_host(spark, nvml_api=fake_nvml(), docker_socket=tmp_path / "none")
    environment = capture(spec, host, project=tmp_path)
    text = json.dumps(to_json(environment))
    assert "abc123" not in text
    assert str(tmp_path) not in text
    assert from_json(RunEnvironment, json.loads(text)) == environment
    assert environment.seeds == {"run": 7}
    assert environment.images == {"torch": "sha256:" + "ab" * 32}
    assert environment.command == ("harness", "run", "a34", "--token", HIDDEN)
    assert environment.code.commit is None
    assert "not a git repository" in environment.code.absent["commit"]


@pytest.mark.parametrize(
    ("now", "newest", "said"),
    [
        (
            "1999-12-31T23:59:59+00:00",
            "",
            "the clock says 1999-12-31: dates of these runs are wrong",
        ),
        (
            "2101-01-01T00:00:00+00:00",
            "",
            "the clock says 2101-01-01: dates of these runs are wrong",
        ),
        (
            "2026-06-01T00:00:00+00:00",
            "2026-06-02T00:00:00+00:00",
            "the clock says 2026-06-01, but a stored run is of 2026-06-02: it was set back",
        ),
        ("2026-06-01T00:00:00+00:00", "2026-05-31T00:00:00+00:00", ""),
    ],
)
def test_a_clock_that_is_wrong_is_warned_of(now: str, newest: str, said: str) -> None:
    assert clock_warning(datetime.fromisoformat(now), newest) == said
