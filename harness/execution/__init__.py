"""Executing a plan: prepare it on this machine, run what is not finished, say how it gets on."""
