"""Parse, translate and encode queries."""
