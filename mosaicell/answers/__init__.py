"""Answers: from maps to the cells that count, whole or band by band, at a good scale, with a predicted F1."""
