"""Common base of every command: options, project, scenarios, console."""
