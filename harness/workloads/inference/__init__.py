"""A language model that answers: vLLM, or transformers in this process, behind one protocol."""
