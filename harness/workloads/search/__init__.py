"""Questions that are answered by searching: a made world, its retriever, an agent's protocol."""
