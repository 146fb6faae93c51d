"""Public sets of attacks: commands against sandboxes, and reward hacks against environments."""
