"""From an image file to a label image."""
