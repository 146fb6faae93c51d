"""The record of trials: append-only rows, and the brief that they make."""
