"""Truths and predictions are paired whether images are named in full or up to their first dot, and never by chance."""

from __future__ import annotations

import pytest

from mosaicell.evaluation.pairing import pair_names


@pytest.mark.parametrize(
    ("truths", "predictions", "pairs"),
    [
        ("a b", "a b c", {"a": "a", "b": "b"}),
        ("a", "a.1", {"a": "a.1"}),
        ("a.1", "a", {"a.1": "a"}),
        ("a.1", "a.2", {"a.1": "a.2"}),
        ("a a.1", "a a.1", {"a": "a", "a.1": "a.1"}),
        ("a", "a a.1", {"a": "a"}),
        ("a", "a.1 a.2", {}),
        ("a.1 a.2", "a", {}),
        ("a.1 a.2", "a.1 a.3", {"a.1": "a.1", "a.2": "a.3"}),
        ("a", "", {}),
        ("a", "ab", {}),
    ],
)
def test_names_are_paired_alike_or_where_only_one_can_be_meant(
    truths: str, predictions: str, pairs: dict[str, str]
) -> None:
    sides = ([f"{stem}_label.tiff" for stem in names.split()] for names in (truths, predictions))
    found = pair_names(*sides)
    assert found == {f"{truth}_label.tiff": f"{prediction}_label.tiff" for truth, prediction in pairs.items()}


def test_odd_names_are_no_harm() -> None:
    assert pair_names(["_label.tiff", ".x_label.tiff"], ["_label.tiff", ".y_label.tiff"]) == {
        "_label.tiff": "_label.tiff"
    }
