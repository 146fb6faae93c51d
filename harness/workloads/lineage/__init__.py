"""Lineage: what was tried, how it ended, and the block that tells the next trial."""
