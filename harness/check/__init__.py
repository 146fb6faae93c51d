"""Compare every entry of the ledger with the measurements; one verdict each."""
