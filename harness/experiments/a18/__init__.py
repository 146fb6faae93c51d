"""Article 18: the GPT by hand and out of Megatron-Core."""
