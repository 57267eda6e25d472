"""From a published checkpoint to a model folder."""
