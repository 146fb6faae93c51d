"""The arithmetic of owning, renting and training, as pure functions of numbers.

Money is in USD, time in the unit that a name ends in. Nothing is rounded here.
"""

from __future__ import annotations

HOURS_PER_YEAR = 365.25 * 24
SECONDS_PER_HOUR = 3600


def amortisation_usd_per_h(capex_usd: float, life_years: float, duty_cycle: float = 1.0) -> float:
    """Spread a price over the hours a machine works; `duty_cycle` is the share of its life."""
    return capex_usd / (life_years * HOURS_PER_YEAR * duty_cycle)


def electricity_usd_per_h(power_kw: float, electricity_usd_per_kwh: float) -> float:
    """Cost of an hour at constant power."""
    return power_kw * electricity_usd_per_kwh


def energy_kwh(power_w: float, hours: float) -> float:
    """Energy of `hours` at constant power."""
    return power_w * hours / 1000


def cost_usd(usd_per_h: float, seconds: float, speedup: float = 1.0) -> float:
    """Cost of work of `seconds` on the reference machine, done `speedup` times as fast."""
    return usd_per_h * seconds / SECONDS_PER_HOUR / speedup


def savings_usd(final_usd: float, before: float, after: float, search_usd: float) -> float:
    """What a recipe search saves: it lowers the wrong-pick rate from `before` to `after`.

    Article 24 takes `after` as 0; its caveats expect 0.1 to 0.2.
    """
    return (before - after) * final_usd - search_usd


def break_even_wrong_pick_rate(final_usd: float, after: float, search_usd: float) -> float:
    """The wrong-pick rate before the search at which the search saves nothing."""
    return after + search_usd / final_usd


def chinchilla_tokens(parameters: float, tokens_per_parameter: float = 20.0) -> float:
    """Compute-optimal training tokens (Hoffmann et al. 2022, about 20 a parameter)."""
    return tokens_per_parameter * parameters


def training_flop(parameters: float, tokens: float) -> float:
    """Compute of a dense transformer's training, 6ND (Kaplan et al. 2020, section 2.1)."""
    return 6 * parameters * tokens


def compute_hours(flop: float, num_gpus: int, peak_tflops: float, utilisation: float) -> float:
    """Hours to do `flop` on GPUs that reach `utilisation` of their peak."""
    return flop / (num_gpus * peak_tflops * 1e12 * utilisation) / SECONDS_PER_HOUR


def training_days(tokens: float, tokens_per_s: float) -> float:
    """Days to train on `tokens` at a constant rate."""
    return tokens / tokens_per_s / (24 * SECONDS_PER_HOUR)


def perplexity(bits_per_token: float) -> float:
    """2 to the cross-entropy in bits."""
    return float(2.0**bits_per_token)
