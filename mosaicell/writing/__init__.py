"""Writing: masks and overlays that are there whole or not at all."""
