"""The search loop: proposers, guardrails, evaluator, journal; used by articles 22, 25 and 35."""
