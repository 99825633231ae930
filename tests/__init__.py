"""Tests; shared drawing and model makers."""
