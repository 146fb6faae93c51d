"""Article 19: throughput, memory and loss of a 354M GPT on one GB10."""
