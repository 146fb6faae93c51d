"""Where runs are executed: on this machine or in a container, by one protocol."""
