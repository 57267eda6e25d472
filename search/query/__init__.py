"""From what a person asks to vectors."""
