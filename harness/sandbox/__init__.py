"""Where commands that an agent wrote run: bubblewrap, containers, or a file system in memory."""
