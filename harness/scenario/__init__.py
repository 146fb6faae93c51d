"""Scenario files: what is asked, read strictly, every mistake reported with its place."""
