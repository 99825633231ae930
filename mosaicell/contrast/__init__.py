"""Contrast: what is measured once about a whole image, and what of its intensities the networks see."""
