"""What fits into a machine's memory, and what training takes of it: arithmetic, no torch."""
