"""Where commands that an agent wrote are run."""
