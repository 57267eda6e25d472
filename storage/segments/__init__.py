"""Segments: immutable folders of images with their captions, vectors, tokens and thumbnails."""
