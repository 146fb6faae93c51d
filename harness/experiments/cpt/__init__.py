"""Continued pretraining: replay, adapters, and an 8B model by NeMo's Megatron Bridge."""
