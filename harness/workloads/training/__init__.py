"""Supervised training: loop, schedules, SFT, what is trained on."""
