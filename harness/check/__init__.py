"""Checking: every entry of the ledger against what was measured, one verdict each."""
