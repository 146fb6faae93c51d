"""The 354M GPT of articles 18 to 25 and its small sister: model, loop, precision and memory."""
