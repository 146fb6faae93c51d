"""A small language model of our own, for machines that cannot hold an article's 7B model."""
