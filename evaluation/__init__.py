"""Predicted label images against true ones: matching, the challenge's metric, the score command."""
