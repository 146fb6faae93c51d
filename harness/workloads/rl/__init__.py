"""Learning from rewards: credit for turns, losses, and the one trainer that every article uses."""
