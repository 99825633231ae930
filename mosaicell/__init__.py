"""Segment every cell in a microscopy image: files in, instance masks out."""
