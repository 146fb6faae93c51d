"""The catalogues of planted faults, as data.

`catalogue.yaml` is what tests, pins and claims were mended by. `second.yaml` was written afterwards
and is kept aside: it says whether they were mended for the faults of the first only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
FIRST = Path(__file__).with_name("catalogue.yaml")
SECOND = Path(__file__).with_name("second.yaml")

# the tests of a file's own subject: what a mutant of it is asked of
TESTS: dict[str, tuple[str, ...]] = {
    "harness/workloads/training/loop.py": ("unit/training/test_loop.py",),
    "harness/workloads/training/schedule.py": ("unit/training/test_schedule.py",),
    "harness/workloads/training/pretrain.py": ("unit/training/test_pretrain.py",),
    "harness/workloads/training/pretrain_metrics.py": ("unit/training/test_pretrain_metrics.py",),
    "harness/workloads/training/pretrain_laws.py": ("property/test_pretrain.py",),
    "harness/workloads/training/policy.py": ("rl/test_agent.py",),
    "harness/workloads/training/sft": ("rl/test_supervised.py",),
    "harness/workloads/models/gpt.py": ("unit/models/test_gpt.py",),
    "harness/workloads/models/gpt_lora.py": ("unit/cpt/test_replay.py",),
    "harness/workloads/models/shape.py": ("unit/models/test_shape.py",),
    "harness/workloads/models/memory.py": ("unit/models/test_memory.py",),
    "harness/workloads/models/precision.py": ("unit/models", "unit/training/test_pretrain.py"),
    "harness/workloads/models/conditions.py": ("unit/models/test_conditions.py",),
    "harness/workloads/models/lora.py": ("rl/test_lora.py", "rl/test_trainer.py"),
    "harness/workloads/data/loader.py": ("unit/data/test_loader.py",),
    "harness/workloads/data/pack.py": ("unit/data/test_pack.py",),
    "harness/workloads/data/clean.py": ("unit/data/test_clean.py", "property/test_data.py"),
    "harness/workloads/data/tokens.py": ("unit/data/test_pack.py",),
    "harness/workloads/data/windows.py": ("unit/data/test_windows.py",),
    "harness/workloads/data/split.py": (
        "unit/autoresearch/test_tally.py",
        "contract/test_evaluator.py",
    ),
    "harness/workloads/data/mixture.py": ("unit/data/test_mixture.py",),
    "harness/workloads/data/languages.py": ("unit/data/test_languages.py",),
    "harness/experiments/cpt/replay.py": ("unit/cpt/test_replay.py",),
    "harness/workloads/rl/advantages.py": ("unit/rl", "property/test_rl.py"),
    "harness/workloads/rl/losses.py": ("unit/rl/test_losses.py", "property/test_rl.py"),
    "harness/workloads/rl/algorithms/information_gain.py": ("unit/rl/test_information_gain.py",),
    "harness/workloads/rl/algorithms": ("unit/rl", "property/test_rl.py"),
    "harness/workloads/rl/trainer.py": ("rl/test_trainer.py",),
    "harness/workloads/rl/loop.py": ("rl/test_agent.py",),
    "harness/workloads/rl/runner.py": ("unit/rl/test_runner.py", "rl/test_agent.py"),
    "harness/workloads/inference": ("rl/test_embedded.py", "rl/test_trainer.py"),
    "harness/experiments/a32_34/counts.py": ("unit/a32_34/test_evaluation.py",),
    "harness/experiments/a32_34/evaluation.py": ("unit/a32_34/test_evaluation.py",),
    "harness/experiments/a32_34/sft_data.py": ("unit/a32_34", "rl/test_agent.py"),
    "harness/experiments/a32_34": ("unit/a32_34/test_tasks.py", "rl/test_agent.py"),
    "harness/workloads/envs/files/grade.py": ("unit/envs_files/test_grade.py",),
    "harness/workloads/envs/files": ("unit/envs_files/test_environment.py",),
    "harness/workloads/envs/search": ("unit/envs_search", "rl/test_search.py"),
    "harness/experiments/a36": ("unit/a36",),
    "harness/workloads/autoresearch/loop_state.py": ("unit/autoresearch/test_loop.py",),
    "harness/workloads/autoresearch/guardrails.py": (
        "unit/autoresearch/test_rails.py",
        "property/test_rails.py",
    ),
    "harness/workloads/autoresearch/bandit.py": ("unit/autoresearch/test_proposers.py",),
    "harness/workloads/autoresearch/candidate.py": ("contract/test_evaluator.py",),
    "harness/workloads/autoresearch": ("unit/autoresearch",),
    "harness/workloads/trials": ("unit/trials", "property/test_trials.py"),
    "harness/experiments/a22": ("unit/a22",),
    "harness/experiments/a35": ("unit/a35", "unit/autoresearch/test_tally.py"),
    "harness/experiments/a25": ("unit/a25", "rl/test_distill.py"),
    "harness/experiments/a18": ("unit/a18",),
    "harness/experiments/a23_24": ("unit/a23_24", "property/test_campaign.py"),
    "harness/telemetry": ("unit/telemetry/test_telemetry.py", "property/test_telemetry_laws.py"),
    "harness/probes": (
        "unit/telemetry/test_telemetry.py",
        "unit/probes",
        "property/test_telemetry_laws.py",
    ),
    "harness/statistics.py": ("unit/test_statistics.py", "unit/check"),
    "harness/check": ("unit/check", "property/test_check.py"),
}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One planted fault.

    Attributes:
        says: what a scientist would call it.
        area: of the science.
        scenario: the one whose subject it is.
        file: from the project's folder.
        old: what stands there once.
        new: what is put in its place.
        explained: why it may survive; empty where it should not.
    """

    id: str
    says: str
    area: str
    scenario: str
    file: str
    old: str
    new: str
    explained: str = ""

    def applied(self, root: Path = ROOT) -> str:
        """Return the file with the fault.

        Raises:
            ValueError: the text to replace does not stand there exactly once.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        if (count := text.count(self.old)) != 1:
            message = f"{self.id}: {self.file} has {count} times {self.old!r}"
            raise ValueError(message)
        return text.replace(self.old, self.new)

    @property
    def tests(self) -> tuple[str, ...]:
        """The tests of the file's subject, from the project's folder."""
        names = [name for name in TESTS if self.file.startswith(name)]
        return tuple(f"tests/{each}" for each in TESTS[max(names, key=len)])


def outcomes_of(catalogue: Path) -> Path:
    """Return the file that keeps what came of a catalogue's mutants."""
    return catalogue.with_suffix(".outcomes.json")


def read_catalogue(path: Path) -> tuple[Mutant, ...]:
    """Return every mutant of a catalogue."""
    entries = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return tuple(Mutant(**each) for each in entries)
