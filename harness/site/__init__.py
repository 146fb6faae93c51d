"""A folder of pages: every article with its answer, every figure with where it comes from."""
