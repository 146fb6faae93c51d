"""Facts of machines, telemetry and environments, against machines made of files."""
