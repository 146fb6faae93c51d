"""What an agent may change: thirteen knobs, their domains, and the configuration it starts from.

`ARTICLE` is the published menu (article 22, "Search space"). `SMALL` is a model of it to scale, for
evaluations that take half a second on a CPU: the same knobs, each list of choices as long and in
the same order, so that a proposal for the one means something for the other.
"""

from __future__ import annotations

import math
from dataclasses import replace
from enum import StrEnum
from random import Random
from types import MappingProxyType

from harness.records import Scalar, record
from harness.workloads.autoresearch.trajectory import TrainConfig

_LEVELS = 5  # sample values of a range
_LOG_SPAN = 100.0  # a range this wide is cut by factors


class KnobType(StrEnum):
    """What a knob's values are."""

    INT = "int"
    FLOAT = "float"
    TEXT = "str"


@record
class Knob:
    """One knob and its domain: a range with both ends, or choices.

    Attributes:
        name: a field of `TrainConfig`.
    """

    name: str
    kind: KnobType
    doc: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Scalar, ...] = ()

    @property
    def domain(self) -> str:
        """The domain in words, as the prompt and refusals give it."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        return f"{self.low:g} to {self.high:g}"

    def draw(self, random: Random) -> Scalar:
        """Return a value, uniform over the domain; over its logarithm where that is wide."""
        if self.choices:
            return random.choice(self.choices)
        if self.kind is KnobType.INT:
            return random.randint(int(self.low), int(self.high))
        return self._short(self._at(random.random()))

    def levels(self) -> tuple[Scalar, ...]:
        """Return sample values of the domain: its choices, or a few from end to end."""
        if self.choices:
            return self.choices
        places = (self._at(step / (_LEVELS - 1)) for step in range(_LEVELS))
        if self.kind is KnobType.INT:
            return tuple(dict.fromkeys(round(place) for place in places))
        return tuple(self._short(place) for place in places)

    def _short(self, place: float) -> float:
        """Return three digits of a place in the range, which rounding must not leave."""
        return min(max(float(f"{place:.3g}"), self.low), self.high)

    def _at(self, share: float) -> float:
        if self.low > 0 and self.high / self.low >= _LOG_SPAN:
            return self.low * math.pow(self.high / self.low, share)
        return self.low + share * (self.high - self.low)


@record
class Space:
    """A menu of knobs and the configuration that it starts from.

    Attributes:
        knobs: by name, in the order of the menu.
        baseline: the configuration to change; fields that are not knobs are fixed, such as the
            seed.
    """

    name: str
    knobs: MappingProxyType[str, Knob]
    baseline: TrainConfig


def changed(base: TrainConfig, knob: Knob, value: Scalar) -> TrainConfig:
    """Return `base` with one knob at another value, of the knob's own type."""
    typed = float(value) if knob.kind is KnobType.FLOAT else value  # type: ignore[arg-type]  # in its domain
    return replace(base, **{knob.name: typed})  # type: ignore[arg-type]


def translated(knob: str, value: Scalar, source: Space, target: Space) -> Scalar:
    """Return what a value in one space means in another: the same choice, or the same ratio.

    A number keeps its ratio to the baseline's, within the domain; where that is zero, itself.
    """
    one, other = source.knobs[knob], target.knobs[knob]
    if one.choices:
        return other.choices[one.choices.index(value)]
    assert isinstance(value, int | float)
    before, after = getattr(source.baseline, knob), getattr(target.baseline, knob)
    moved = value * after / before if before else float(value)
    within = min(max(moved, other.low), other.high)
    return round(within) if other.kind is KnobType.INT else float(f"{within:.6g}")


# --- the two menus --------------------------------------------------------------------------------

_DOCS = {
    "n_layer": "decoder layers",
    "n_head": "attention heads; divides d_model",
    "d_model": "width of the residual stream",
    "d_ff": "hidden width of the feed-forward map",
    "lr": "peak learning rate of AdamW",
    "lr_warmup": "steps of linear warm-up, before the cosine",
    "grad_clip": "largest norm of the gradients",
    "weight_decay": "decoupled, on every parameter",
    "beta1": "AdamW, first moment",
    "beta2": "AdamW, second moment",
    "batch_size": "sequences a step",
    "seq_len": "tokens a sequence",
    "precision": "arithmetic of the matrix products",
}
_FLOATS = ("lr", "grad_clip", "weight_decay", "beta1", "beta2")


def _menu(**domains: tuple[Scalar, ...]) -> MappingProxyType[str, Knob]:
    knobs = {}
    for name, doc in _DOCS.items():
        domain = domains[name]
        kind = KnobType.FLOAT if name in _FLOATS else KnobType.INT
        if isinstance(domain[0], str):
            knobs[name] = Knob(name=name, kind=KnobType.TEXT, doc=doc, choices=domain)
        elif name in _FLOATS or name in ("n_layer", "lr_warmup"):
            low, high = domain
            knobs[name] = Knob(name=name, kind=kind, doc=doc, low=low, high=high)  # type: ignore[arg-type]
        else:
            knobs[name] = Knob(name=name, kind=kind, doc=doc, choices=domain)
    return MappingProxyType(knobs)


ARTICLE = Space(
    name="article",
    knobs=_menu(
        n_layer=(4, 48),
        n_head=(4, 8, 16, 32),
        d_model=(256, 512, 768, 1024, 1536, 2048),
        d_ff=(1024, 2048, 4096, 6144, 8192),
        lr=(1e-5, 1e-2),
        lr_warmup=(0, 50),
        grad_clip=(0.1, 5.0),
        weight_decay=(0.0, 0.5),
        beta1=(0.5, 0.99),
        beta2=(0.8, 0.9999),
        batch_size=(2, 4, 8, 16),
        seq_len=(512, 1024, 2048),
        precision=("bf16", "fp8"),
    ),
    baseline=TrainConfig(
        n_layer=24,
        n_head=16,
        d_model=1024,
        d_ff=4096,
        lr=3e-4,
        lr_warmup=5,
        grad_clip=1.0,
        weight_decay=0.0,
        beta1=0.9,
        beta2=0.95,
        batch_size=16,
        seq_len=1024,
        precision="fp8",
        vocab_size=50257,
        steps=60,
        val_chunk_tokens=16384,
        seed=0,
    ),
)

# widths and lengths a sixteenth, layers a twelfth, heads a quarter; a small model takes, and needs,
# ten times the learning rate. Sixteen times fewer tokens to validate on would be 1024, whose noise
# hides any effect; twice that costs three percent of an evaluation.
SMALL = Space(
    name="small",
    knobs=_menu(
        n_layer=(1, 4),
        n_head=(1, 2, 4, 8),
        d_model=(16, 32, 48, 64, 96, 128),
        d_ff=(64, 128, 256, 384, 512),
        lr=(1e-4, 1e-1),
        lr_warmup=(0, 50),
        grad_clip=(0.1, 5.0),
        weight_decay=(0.0, 0.5),
        beta1=(0.5, 0.99),
        beta2=(0.8, 0.9999),
        batch_size=(1, 2, 4, 8),
        seq_len=(32, 64, 128),
        precision=("bf16", "fp32"),
    ),
    baseline=replace(
        ARTICLE.baseline,
        n_layer=2,
        n_head=4,
        d_model=64,
        d_ff=256,
        lr=3e-3,
        batch_size=8,
        seq_len=64,
        precision="fp32",
        vocab_size=128,
        val_chunk_tokens=2048,
    ),
)
SPACES = MappingProxyType({space.name: space for space in (ARTICLE, SMALL)})
