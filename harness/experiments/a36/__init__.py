"""Article 36: A2TGPO on an agent that searches."""
