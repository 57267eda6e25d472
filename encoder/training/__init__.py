"""Training of opt-mini."""
