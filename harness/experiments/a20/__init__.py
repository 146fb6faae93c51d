"""Article 20: from raw documents to training batches."""
