"""Filters such as `width >= 640 and album = 'summer'`: from text to the ids that they let through."""
