"""Models of a million parameters for machines without a GPU: recipes, builder, checkpoints."""
