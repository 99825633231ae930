"""Fixtures shared by all tests."""

from __future__ import annotations

import os

import numpy as np
import pytest

# torch reads it when it is loaded: threads gain nothing on the small tensors of tests, and wait for each other where
# other programs run
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded generator, new for every test."""
    return np.random.default_rng(7)
