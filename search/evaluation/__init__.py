"""Measure the ranking: recall, its significance, hubs, and queries without an answer."""
