"""Synthetic file tasks: what is asked, where an agent works on it, and how it is graded."""
