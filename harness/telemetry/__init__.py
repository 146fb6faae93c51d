"""What the machine drew, held and reached during a run; NOT_SUPPORTED is a value."""
