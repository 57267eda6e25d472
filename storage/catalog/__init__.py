"""The catalog: files, runs and versions, in a database."""
