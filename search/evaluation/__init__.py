"""How good the ranking is: recall, its significance, hubs, and queries without an answer."""
