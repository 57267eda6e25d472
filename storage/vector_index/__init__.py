"""The vector indexes of the first stage: exact and approximate."""
