"""Articles 32 to 34: a file agent, fine-tuned on demonstrations and trained by GRPO and T2PO."""
