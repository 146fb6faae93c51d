"""Planted faults of the science, and who notices them: tests, pins and claims."""
