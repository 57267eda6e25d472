"""What a photo says of itself in EXIF, IPTC and XMP. `indexer.embedded_metadata` puts it together."""
