"""A claim is held by one at a time, goes with its holder, and is no hindrance where there are no locks."""

from __future__ import annotations

import errno
import fcntl
import threading
from pathlib import Path

import pytest

from mosaicell.runs.claims import claim
from mosaicell.writing.parts import PART_NAME, remove_stale_parts


def test_a_claim_is_held_by_one_and_leaves_nothing(tmp_path: Path) -> None:
    mask = tmp_path / "a_label.tiff"
    with claim(mask, wait=False) as first:
        (path,) = tmp_path.iterdir()
        assert PART_NAME.fullmatch(path.name)
        remove_stale_parts(tmp_path)
        with claim(mask, wait=False) as second, claim(tmp_path / "b_label.tiff", wait=False) as other:
            assert (first, second, other) == (True, False, True)
        # whoever went without takes nothing away
        assert list(tmp_path.iterdir()) == [path]
    assert not list(tmp_path.iterdir())
    with claim(mask, wait=False) as again:
        assert again


def test_many_that_wait_hold_it_one_after_the_other(tmp_path: Path) -> None:
    held: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            with claim(tmp_path / "a_label.tiff", wait=True):
                held.append(number)
                most.append(len(held))
                held.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80
    assert not list(tmp_path.iterdir())


def test_what_a_dead_holder_left_is_taken_over(tmp_path: Path) -> None:
    with claim(tmp_path / "a_label.tiff", wait=False):
        (path,) = tmp_path.iterdir()
    path.touch()
    with claim(tmp_path / "a_label.tiff", wait=False) as held:
        assert held
    assert not path.exists()


@pytest.mark.parametrize("wait", [False, True])
def test_without_locks_or_a_folder_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with claim(tmp_path / "missing" / "a_label.tiff", wait=wait) as held:
        assert held
    monkeypatch.setattr(fcntl, "flock", refuse)
    with claim(tmp_path / "a_label.tiff", wait=wait) as first, claim(tmp_path / "a_label.tiff", wait=wait) as second:
        assert (first, second) == (True, True)
    assert not list(tmp_path.iterdir())
