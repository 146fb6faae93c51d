"""Questions about a generated world, and the retriever that answers searches."""
