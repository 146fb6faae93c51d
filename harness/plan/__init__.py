"""Planning: everything is decided here, before anything starts."""
