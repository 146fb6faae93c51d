"""Reproducible benchmark harness for the DGX Spark article experiments."""

__version__ = "0.1.0"
