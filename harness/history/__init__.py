"""What was measured night after night, and whether tonight differs."""
