"""Captioning: the search for the likeliest caption. Never imports mindspore."""
