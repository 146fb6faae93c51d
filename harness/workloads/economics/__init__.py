"""What recipes, rentals and training tiers cost: dated rates and plain arithmetic."""
