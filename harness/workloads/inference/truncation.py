"""What sampling settings leave of a distribution, and how likely a token was as it was drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.workloads.inference.engine import SamplingParams


def truncated(logits_MV: Tensor, top_k: int, top_p: float) -> Tensor:
    """Return the logits, minus infinity for what may not be drawn: (..., V).

    First the `top_k` likeliest are kept, 0 for all, then of their probability the likeliest tokens
    that make up the share `top_p`, one at least (Holtzman et al. 2020, "The curious case of neural
    text degeneration", section 3.1). vLLM does it in the same order.
    """
    ordered_MV, order_MV = logits_MV.sort(dim=-1, descending=True)
    if top_k:
        ordered_MV[..., top_k:] = -torch.inf
    if top_p < 1:
        probabilities_MV = ordered_MV.softmax(dim=-1)
        before_MV = probabilities_MV.cumsum(dim=-1) - probabilities_MV
        ordered_MV[..., 1:][before_MV[..., 1:] >= top_p] = -torch.inf
    return torch.empty_like(logits_MV).scatter_(-1, order_MV, ordered_MV)


def drawn_logprobs(logits_MV: Tensor, tokens_M: Tensor, sampling: SamplingParams) -> Tensor:
    """Return each token's log-probability as it was drawn: (M,), nats.

    That is of the distribution at the sampling temperature, of which only what `top_k` and `top_p`
    leave is drawn from. Minus infinity for a token that these logits leave out: the engine's were
    others by rounding, and the token at the very edge.
    """
    if sampling.temperature == 0:  # the likeliest, for certain
        return torch.zeros_like(tokens_M, dtype=logits_MV.dtype)
    left_MV = logits_MV / sampling.temperature
    if sampling.top_k or sampling.top_p < 1:
        left_MV = truncated(left_MV, sampling.top_k, sampling.top_p)
    return torch.log_softmax(left_MV, dim=-1).gather(-1, tokens_M.unsqueeze(-1)).squeeze(-1)
