"""Whole files: atomic, locked while their writer lives, cleared away when it does not."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mosaicell.writing import parts
from mosaicell.writing.parts import PART_NAME, remove_stale_parts, try_folder, write_whole, write_whole_folder

ROOT = Path(__file__).resolve().parent.parent


def start_writer(folder: Path) -> subprocess.Popen[str]:
    """Start a process that has written half of folder/x.txt, and says so."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from mosaicell.writing.parts import write_whole\n"
        "with write_whole(Path(sys.argv[1]) / 'x.txt') as part:\n"
        "    part.write_text('half')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(600)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    return writer


def fill_disk(part: Path) -> None:
    part.write_text("half")
    raise OSError(errno.ENOSPC, "No space left on device")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with write_whole(tmp_path / "x.txt") as part:
        part.write_text("new")
        (name,) = names(tmp_path)
        assert PART_NAME.fullmatch(name)
        assert name.endswith(".txt")
    assert names(tmp_path) == ["x.txt"]
    with pytest.raises(OSError, match="No space"), write_whole(tmp_path / "x.txt") as part:
        fill_disk(part)
    assert names(tmp_path) == ["x.txt"]
    assert (tmp_path / "x.txt").read_text() == "new"


def test_the_longest_name_and_the_usual_permissions(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250 + ".tiff")
    with write_whole(path) as part:
        part.write_text("new")
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("old")
    (tmp_path / "x.txt").symlink_to(tmp_path / "precious")
    with write_whole(tmp_path / "x.txt") as part:
        part.write_text("new")
    assert not (tmp_path / "x.txt").is_symlink()
    assert (tmp_path / "precious").read_text() == "old"


def test_only_what_no_living_process_holds_is_removed(tmp_path: Path) -> None:
    """A writer's file stays while it lives, and goes once it was killed; files of other names always stay."""
    others = [".mosaicell-short.part.txt", ".mosaicell-0123456789abcdef.part.txt.bak", "a_label.tiff"]
    for name in others:
        (tmp_path / name).touch()
    writer = start_writer(tmp_path)
    assert len(names(tmp_path)) == 1 + len(others)
    remove_stale_parts(tmp_path)
    assert len(names(tmp_path)) == 1 + len(others)
    writer.kill()
    writer.communicate()
    assert writer.returncode == -signal.SIGKILL
    remove_stale_parts(tmp_path)
    assert names(tmp_path) == sorted(others)


def test_links_and_folders_named_like_ours_stay(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    (tmp_path / ".mosaicell-0123456789abcdef.part").symlink_to(tmp_path / "precious")
    (tmp_path / ".mosaicell-0123456789abcdee.part").mkdir()
    before = names(tmp_path)
    remove_stale_parts(tmp_path)
    assert names(tmp_path) == before


def test_without_locks_age_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with write_whole(tmp_path / "x.txt") as part:
        part.write_text("new")
    assert (tmp_path / "x.txt").read_text() == "new"
    fresh, old = (tmp_path / f".mosaicell-{digit * 16}.part.txt" for digit in "ab")
    for path in (fresh, old):
        path.touch()
    yesterday = time.time() - parts.STALE_S - 60
    os.utime(old, (yesterday, yesterday))
    remove_stale_parts(tmp_path)
    assert names(tmp_path) == [fresh.name, "x.txt"]


def test_a_file_taken_before_it_was_locked_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between making a file and locking it, another run may find it unlocked and remove it."""
    real = fcntl.flock
    taken: list[Path] = []

    def take_first(descriptor: int, operation: int) -> None:
        if not taken:
            (left,) = tmp_path.iterdir()
            taken.append(left)
            left.unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", take_first)
    with write_whole(tmp_path / "x.txt") as part:
        part.write_text("new")
        assert part != taken[0]
    assert names(tmp_path) == ["x.txt"]


def test_trying_a_folder_leaves_nothing(tmp_path: Path) -> None:
    try_folder(tmp_path)
    assert not names(tmp_path)
    with pytest.raises(OSError, match="No such file"):
        try_folder(tmp_path / "missing")


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with write_whole_folder(tmp_path / "x.zarr") as part:
            (part / "below").mkdir()
            (part / "below" / "y").write_text(content)
            assert all(PART_NAME.fullmatch(name) for name in names(tmp_path) if name != "x.zarr")
            # another run leaves it alone while it is written
            remove_stale_parts(tmp_path)
            assert part.is_dir()
        assert (names(tmp_path), (tmp_path / "x.zarr" / "below" / "y").read_text()) == (["x.zarr"], content)
    with pytest.raises(OSError, match="No space"), write_whole_folder(tmp_path / "x.zarr") as part:
        fill_disk(part / "y")
    assert (names(tmp_path), (tmp_path / "x.zarr" / "below" / "y").read_text()) == (["x.zarr"], "new")


def test_a_folder_takes_the_place_of_a_link_and_not_of_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "y").write_text("old")
    (tmp_path / "x.zarr").symlink_to(tmp_path / "precious")
    with write_whole_folder(tmp_path / "x.zarr") as part:
        (part / "y").write_text("new")
    assert (names(tmp_path), (tmp_path / "precious" / "y").read_text()) == (["precious", "x.zarr"], "old")


def test_a_folder_that_a_dead_writer_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".mosaicell-0123456789abcdef.part.zarr"
    (left / "below").mkdir(parents=True)
    (left / "below" / "y").write_text("half")
    remove_stale_parts(tmp_path)
    assert not left.exists()
