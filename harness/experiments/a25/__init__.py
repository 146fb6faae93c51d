"""Article 25: a small model distilled from a proposer's trajectory."""
