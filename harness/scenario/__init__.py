"""Scenario files, read strictly; every mistake is reported with its place."""
