"""The server: connections, tokens, the log, metrics."""
