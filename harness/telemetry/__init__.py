"""Power, memory and temperature of the machine during a run; NOT_SUPPORTED is a value."""
