"""A file agent that learns: from demonstrations (article 32), from rewards (33), turn by turn (34)."""
