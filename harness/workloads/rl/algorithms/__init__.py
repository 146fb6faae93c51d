"""GRPO, and what T2PO and A2TGPO change of it."""
