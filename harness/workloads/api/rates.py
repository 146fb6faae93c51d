"""The figures that cost arithmetic starts from, each with its unit, source and date.

Different figures of two articles for one thing are both here, under different names.
"""

from __future__ import annotations

from typing import NamedTuple

_ARTICLE_22 = "article 22, measured over its run"
_ARTICLE_23 = "article 23, comparison with a frontier box"
_ARTICLE_24 = "article 24, evidence/cost_arithmetic.json"
_DATASHEET = "NVIDIA H100 data sheet, SXM, without sparsity"


class Rate(NamedTuple):
    """A figure that somebody stated, and when."""

    value: float
    unit: str
    source: str
    date: str


H100_RENTAL = Rate(2.50, "USD/h", _ARTICLE_24, "2026-04-30")
H200_RENTAL = Rate(3.50, "USD/h", _ARTICLE_24, "2026-04-30")
CLOUD_RENTAL = Rate(4.00, "USD/h", "article 23, cloud example", "2026-04-25")
ELECTRICITY = Rate(0.13, "USD/kWh", _ARTICLE_24, "2026-04-30")
HOME_ELECTRICITY = Rate(0.30, "USD/kWh", "articles 22 and 23, electricity cost", "2026-04-25")
SPARK_PRICE = Rate(5000.0, "USD", _ARTICLE_24, "2026-04-30")
SPARK_STREET_PRICE = Rate(4000.0, "USD", _ARTICLE_23, "2026-04-25")
H100_PRICE = Rate(30_000.0, "USD", _ARTICLE_23, "2026-04-25")

SPARK_POWER = Rate(0.24, "kW", _ARTICLE_24, "2026-04-30")  # said to be observed, logged nowhere
SPARK_GPU_POWER = Rate(56.0, "W", "article 22, electricity cost", "2026-04-25")
SPARK_LOGGED_POWER = Rate(54.9, "W", f"{_ARTICLE_22}, nvidia_smi_during_run.csv", "2026-04-25")
H100_POWER = Rate(700.0, "W", _DATASHEET, "2023")
H100_BF16 = Rate(989.4, "TFLOP/s", _DATASHEET, "2023")
H100_FP8 = Rate(1978.9, "TFLOP/s", _DATASHEET, "2023")

SPARK_STEP = Rate(1.21352, "s", f"{_ARTICLE_22}, baseline_eval.json", "2026-04-25")
