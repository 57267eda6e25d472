"""What a model reads: photos, regions and text. Never imports mindspore."""
