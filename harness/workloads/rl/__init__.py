"""Reinforcement learning: groups, advantages, losses, the trainer."""
