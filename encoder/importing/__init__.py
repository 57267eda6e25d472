"""Importing: from a published checkpoint to a model folder. Never imports mindspore."""
