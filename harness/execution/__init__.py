"""Execute a plan: prepare it on this machine, run what is not finished, show progress."""
