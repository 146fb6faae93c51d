"""Text to batches: clean, deduplicate, tokenize, pack, load; generated corpora."""
