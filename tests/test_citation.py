"""What a citation says is what the package is."""

from __future__ import annotations

import re

from mosaicell.options import VERSION
from tests.test_imports import ROOT


def test_the_version_is_that_of_the_package() -> None:
    said = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert said is not None
    assert said[1] == VERSION
