"""The eight personas, the workspaces that their tasks start from, and the split.

Article 32, section "Personas" and the workspace templates behind it. Names, sizes and the draws of
the random numbers are the article's: the sizes of all 50 seeded workspaces come out as recorded.
The texts inside the files are our own; the article's are not published as data.

Only the first two personas draw anything: the other six have one workspace for all their tasks, so
tasks of the two sides of the split are near-duplicates there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from random import Random

from harness.records import record
from harness.workloads.envs.files.task import SeedFile

BASE_SEED = 42
TASKS_PER_PERSONA = 25

Seed = tuple[SeedFile, ...]


@record
class Persona:
    """Someone with files to tidy.

    Attributes:
        role: the name, as task ids hold it.
        context: what this person is doing, in a sentence.
        focus: the skills that tasks of this persona are about.
        files: draws the workspace.
    """

    role: str
    context: str
    focus: tuple[str, ...]
    files: Callable[[Random], Seed]


class Split(StrEnum):
    """Which side of the split a task is on."""

    TRAIN = "train"
    HELD_OUT = "held-out"


@record
class Slot:
    """A task that is to be written: whose, which one, and from which seed."""

    persona: Persona
    index: int
    seed: int

    @property
    def task_id(self) -> str:
        """``synth-<role>-<index>``."""
        return f"synth-{self.persona.role}-{self.index:02d}"

    @property
    def files(self) -> Seed:
        """The workspace it starts from."""
        return self.persona.files(Random(self.seed))  # noqa: S311 - the same draws again


def slots(per_persona: int = TASKS_PER_PERSONA, base_seed: int = BASE_SEED) -> Iterator[Slot]:
    """Yield the slots in the article's order; the running index is added to the seed."""
    for number, persona in enumerate(PERSONAS):
        for index in range(per_persona):
            seed = base_seed + number * per_persona + index
            yield Slot(persona=persona, index=index, seed=seed)


# --- The split ----------------------------------------------------------------------------------

# How many tasks of each persona the article trained on, 42 of 200, and which of them are known:
# from its traces, from article 33's list of step 35 and from the published end states. The rest
# is filled up with the lowest free index, which is ours.
_TRAINED: Mapping[str, tuple[int, frozenset[int]]] = {
    "indie-game-dev": (1, frozenset({19})),
    "data-science-researcher": (10, frozenset({1, 23})),
    "ml-engineer": (4, frozenset()),
    "technical-writer": (9, frozenset({2, 3, 5, 6, 7, 8, 15, 17, 22})),
    "backend-developer": (6, frozenset({6, 10, 13})),
    "devops-engineer": (3, frozenset()),
    "academic-author": (6, frozenset({16, 24})),
    "embedded-firmware-dev": (3, frozenset()),
}
_KNOWN_HELD_OUT = {"data-science-researcher": {3}, "ml-engineer": {9}, "backend-developer": {0}}


def _train_ids() -> Iterator[str]:
    for role, (wanted, known) in _TRAINED.items():
        closed = known | _KNOWN_HELD_OUT.get(role, set())
        free = [index for index in range(TASKS_PER_PERSONA) if index not in closed]
        for index in (*known, *free[: wanted - len(known)]):
            yield f"synth-{role}-{index:02d}"


TRAIN_IDS = frozenset(_train_ids())


def split_of(task_id: str) -> Split:
    """Return the side of the split that a task is on."""
    return Split.TRAIN if task_id in TRAIN_IDS else Split.HELD_OUT


def role_of(task_id: str) -> str:
    """Return the persona that a task is of."""
    return task_id.removeprefix("synth-").rpartition("-")[0]


# --- Workspaces ---------------------------------------------------------------------------------


def _text(path: str, *lines: str) -> SeedFile:
    return SeedFile(path=path, text="".join(f"{line}\n" for line in lines))


def _stub(path: str, size: int) -> SeedFile:
    return SeedFile(path=path, size=size)


def _indie_game_dev(random: Random) -> Seed:
    count = random.randint(2, 4)
    names = random.sample(["goomba", "koopa", "bowser", "shyguy", "lakitu", "boo"], count)
    return (
        *(_stub(f"assets/enemy_{name}.png", random.randint(800, 4000)) for name in names),
        _stub("assets/hero.png", 2200),
        _text("assets/level1.json", '{"name": "meadow", "width": 64, "enemies": []}'),
        _text(
            "scripts/player.gd",
            "extends CharacterBody2D",
            "const SPEED = 240.0",
            "const JUMP = -420.0",
            "func _physics_process(delta):",
            "    move_and_slide()",
        ),
    )


def _data_science_researcher(random: Random) -> Seed:
    runs = [f"experiments/run_{number:02d}" for number in range(random.randint(3, 5))]
    checkpoints = [_stub(f"{run}/checkpoint.pt", random.randint(50_000, 200_000)) for run in runs]
    metrics = [
        _text(f"{run}/metrics.csv", "epoch,loss,accuracy", f"1,0.9{n},0.61", f"2,0.7{n},0.70")
        for n, run in enumerate(runs)
    ]
    readme = _text("README.md", "# Submission", "Each run keeps a checkpoint and its metrics.")
    return (*checkpoints, *metrics, readme)


def _ml_engineer(_: Random) -> Seed:
    log = ("step 100 loss 2.31", "step 200 loss 1.87", "WARNING gradient norm 9.4")
    return (
        _text("logs/train_001.log", "run 001 started", *log),
        _text("logs/train_002.log", "run 002 started", *log),
        _text("configs/exp_001.yaml", "optimizer: adamw", "learning_rate: 0.0003", "batch: 32"),
        _text("configs/exp_002.yaml", "optimizer: lion", "learning_rate: 0.0001", "batch: 64"),
        _text("eval/exp_001.json", '{"experiment": "001", "accuracy": 0.812}'),
        _text("eval/exp_002.json", '{"experiment": "002", "accuracy": 0.845}'),
    )


def _technical_writer(_: Random) -> Seed:
    return (
        _text("docs/intro.md", "# Introduction", "Acme syncs folders.", "Next: [guide](guide.md)"),
        _text("docs/guide.md", "# Guide", "Install Acme, then run setup.", "See old-name.md."),
        _text("docs/old-name.md", "# Reference", "Every option of Acme, in order."),
        _stub("images/diag.png", 5400),
    )


def _backend_developer(_: Random) -> Seed:
    return (
        _text("app.py", "from models import User", "from utils import slug", "print(slug('Ann'))"),
        _text("utils.py", "def slug(name):", "    return name.lower().replace(' ', '-')"),
        _text("models.py", "class User:", "    table = 'users'"),
        _text("test_app.py", "from utils import slug", "def test_slug():", "    assert slug('A')"),
    )


def _devops_engineer(_: Random) -> Seed:
    steps = ("on: push", "jobs:", "  build:", "    runs-on: ubuntu-22.04")
    return (
        _text("api/Dockerfile", "FROM python:3.11-slim", "COPY . /srv", "CMD ['serve']"),
        _text("worker/Dockerfile", "FROM python:3.11-slim", "COPY . /srv", "CMD ['work']"),
        _text(".github/workflows/ci.yml", "name: ci", *steps),
        _text(".github/workflows/deploy.yml", "name: deploy", *steps),
    )


def _academic_author(_: Random) -> Seed:
    return (
        _text("paper.tex", "\\documentclass{article}", "\\title{A draft}", "\\begin{document}"),
        _text("paper.aux", "\\relax"),
        _text("paper.log", "This is a log.", "Output written on paper.pdf"),
        _text("paper.bbl", "\\begin{thebibliography}{1}", "\\end{thebibliography}"),
        _text("refs.bib", "@article{lee2020,", "  title={On files},", "}"),
        _stub("figures/fig1.pdf", 12_000),
        _stub("figures/fig2.pdf", 8_000),
    )


def _embedded_firmware_dev(_: Random) -> Seed:
    return (
        _text("dts/board-rev1.dts", "/dts-v1/;", 'model = "board-rev1";', "clock = <24000000>;"),
        _text("dts/board-rev2.dts", "/dts-v1/;", 'model = "board-rev2";', "clock = <48000000>;"),
        _text("Kconfig.rev1", "config BOARD_REV1", "    bool", "    default y"),
        _text("logs/bringup-rev1.txt", "power ok", "uart silent", "uart ok after reset"),
    )


def _persona(role: str, context: str, focus: str, files: Callable[[Random], Seed]) -> Persona:
    return Persona(role=role, context=context, focus=tuple(focus.split()), files=files)


PERSONAS = (  # in the article's order, which decides the seeds
    _persona(
        "indie-game-dev",
        "Builds a 2D platformer in Godot alone, and keeps sprites, levels and scripts in order.",
        "file.move file.list shell.mkdir file.write",
        _indie_game_dev,
    ),
    _persona(
        "data-science-researcher",
        "Has just submitted a paper and tidies the runs, notebooks and CSV files it left behind.",
        "file.delete file.list file.read shell.find",
        _data_science_researcher,
    ),
    _persona(
        "ml-engineer",
        "Trains models all day; logs, configurations and evaluations pile up between experiments.",
        "file.move file.read file.write shell.find",
        _ml_engineer,
    ),
    _persona(
        "technical-writer",
        "Maintains a product's documentation as markdown, with its links and images.",
        "file.read file.write shell.sed file.list",
        _technical_writer,
    ),
    _persona(
        "backend-developer",
        "Breaks a Python service that grew in one folder up into packages.",
        "file.move file.write shell.grep file.read",
        _backend_developer,
    ),
    _persona(
        "devops-engineer",
        "Looks after a monorepo's images and continuous integration.",
        "file.move file.read file.write shell.find",
        _devops_engineer,
    ),
    _persona(
        "academic-author",
        "Prepares a folder of LaTeX for submission, without what the compiler left in it.",
        "file.delete file.move file.list shell.find",
        _academic_author,
    ),
    _persona(
        "embedded-firmware-dev",
        "Brings up a board and keeps device trees, configurations and logs by revision.",
        "file.move shell.mkdir file.write file.list",
        _embedded_firmware_dev,
    ),
)
