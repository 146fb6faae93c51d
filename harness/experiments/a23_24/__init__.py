"""Articles 23 and 24: the cost calculators."""
