"""A small model that imitates a proposer from its trajectory, and a race against trivial ones."""
