"""How good written captions are: measured against the captions that people wrote of the same photos."""
