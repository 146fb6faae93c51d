"""Article 35: a search with and without a record of past trials."""
