"""Greedy suppression by any rule: the choice of a loop over all pairs, whatever is compared first and at once."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.postprocess import suppression
from mosaicell.postprocess.suppression import Rule, Verdict, choose


def draw_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corners = rng.uniform(0, 10 * count**0.5, (count, 2))
    return np.concatenate([corners, corners + rng.lognormal(2.5, 1.0, (count, 2))], axis=1)


def meets(boxes: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Beat what it meets, unless an arbitrary but fixed property of the pair speaks against it."""
    shared = suppression.shared_areas(boxes, first, second)
    return (shared > 0) & ((7 * first + 13 * second) % 5 > 1)


def choose_one_by_one(boxes: np.ndarray) -> list[int]:
    chosen: list[int] = []
    for late in range(len(boxes)):
        early = np.array(chosen, np.intp)
        if not meets(boxes, early, np.full(len(chosen), late)).any():
            chosen.append(late)
    return chosen


def rule_of(boxes: np.ndarray, open_every: int = 0) -> Rule:
    """Leave every so-many-th pair open at first."""

    def judge(early: np.ndarray, late: np.ndarray) -> Verdict:
        beaten = meets(boxes, early, late)
        if not open_every:
            return Verdict(beaten)
        is_open = (early + 3 * late) % open_every == 0
        return Verdict(beaten & ~is_open, is_open)

    def decide(early: np.ndarray, late: np.ndarray) -> np.ndarray:
        assert ((early + 3 * late) % open_every == 0).all()
        return meets(boxes, early, late)

    return Rule(judge, reach=1.0, ratio=0.0, decide=decide if open_every else None)


@pytest.mark.parametrize("open_every", [0, 1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 700])
def test_the_choice_is_that_of_a_loop(count: int, open_every: int, rng: np.random.Generator) -> None:
    boxes = draw_boxes(rng, count)
    chosen = choose(boxes, rule_of(boxes, open_every))
    assert sorted(chosen) == choose_one_by_one(boxes)
    assert count < 700 or 20 < len(chosen) < 600


@pytest.mark.parametrize("sizes", [(1, 1), (3, 50), (1024, 8192)])
@pytest.mark.parametrize("pairs", [10, 2**20])
def test_it_does_not_depend_on_how_many_are_looked_at_at_once(
    sizes: tuple[int, int], pairs: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    boxes = draw_boxes(rng, 300)
    expected = choose_one_by_one(boxes)
    monkeypatch.setattr(suppression, "_FIRST_BLOCK", sizes[0])
    monkeypatch.setattr(suppression, "_LARGEST_BLOCK", sizes[1])
    monkeypatch.setattr(suppression, "_PAIRS_AT_ONCE", pairs)
    for open_every in (0, 2):
        chosen = choose(boxes, rule_of(boxes, open_every))
        assert sorted(chosen) == expected


def test_nothing_is_decided_that_is_settled_already() -> None:
    """All pairs are open but those of the first one, which beats all others."""
    boxes = np.tile([0.0, 0.0, 10.0, 10.0], (3000, 1))

    def judge(early: np.ndarray, late: np.ndarray) -> Verdict:
        return Verdict(early == 0, early > 0)

    def decide(early: np.ndarray, late: np.ndarray) -> np.ndarray:
        raise AssertionError("the later one has fallen")

    assert choose(boxes, Rule(judge, reach=1.0, ratio=0.0, decide=decide)).tolist() == [0]


def test_of_those_on_one_spot_only_pairs_with_one_that_stays_are_decided() -> None:
    boxes = np.tile([0.0, 0.0, 10.0, 10.0], (1000, 1))
    decided = 0

    def judge(early: np.ndarray, late: np.ndarray) -> Verdict:
        return Verdict(np.zeros(len(early), bool), np.ones(len(early), bool))

    def decide(early: np.ndarray, late: np.ndarray) -> np.ndarray:
        nonlocal decided
        decided += len(early)
        return (late - early) % 10 > 0

    chosen = choose(boxes, Rule(judge, reach=1.0, ratio=0.0, decide=decide))
    assert chosen.tolist() == list(range(0, 1000, 10))
    assert decided < 1000 + 100 * 100


def test_ranges_are_written_out() -> None:
    owner, number = suppression.expand_ranges(np.array([5, 0, 9]), np.array([2, 0, 3]))
    assert owner.tolist() == [0, 0, 2, 2, 2]
    assert number.tolist() == [5, 6, 9, 10, 11]
