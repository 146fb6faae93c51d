"""From raw text to training batches: clean, deduplicate, tokenize, pack, load; article 20."""
