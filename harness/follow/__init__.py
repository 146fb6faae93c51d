"""Following a run while it is at work, from what it and the harness write into its folder."""
