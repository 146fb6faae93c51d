"""Results on disk: one folder a run, written whole or not at all."""
