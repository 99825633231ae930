"""Runs: which images, who does them, what became of each."""
