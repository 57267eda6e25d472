"""Filters such as `width >= 640 and album = 'summer'`: from the text to the ids of what fits."""
