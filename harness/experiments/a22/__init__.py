"""Article 22: fifty iterations of an agent that tunes a pretraining run."""
