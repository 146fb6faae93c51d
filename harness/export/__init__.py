"""Stored results in the forms that other tools open: a module each, from our records to theirs."""
