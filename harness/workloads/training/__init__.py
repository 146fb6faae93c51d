"""Supervised training: loop, schedules, SFT, traces."""
