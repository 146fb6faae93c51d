"""Models and their memory: GPT, Megatron, FP8, LoRA."""
