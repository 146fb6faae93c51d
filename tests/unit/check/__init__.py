"""Tests of the check room, and the builders they share."""
