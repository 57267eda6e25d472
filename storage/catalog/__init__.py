"""The catalog: files, index runs and versions, in a database."""
