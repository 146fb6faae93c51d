"""Pretraining that goes on with another corpus: what is gained, what is forgotten."""
