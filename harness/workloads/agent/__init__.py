"""A file agent that learns: from demonstrations, from rewards, turn by turn (articles 32 to 34)."""
