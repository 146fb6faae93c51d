"""An agent that tunes a small pretrain, one knob at a time (article 22)."""
