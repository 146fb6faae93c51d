"""Readers of power, energy, memory, temperature and clocks; what cannot be read says why."""
