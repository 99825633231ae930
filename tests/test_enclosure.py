"""Files are opened in the input folder or not at all, whatever their names lead to by then."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mosaicell.errors import ImageError, OptionError
from mosaicell.reading.enclosure import LEADS_OUT, Opener, enclose_input


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with a file, a link to it and one to a file of a folder within, beside a folder outside."""
    for name in ("in/inner", "out/inner"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.png").write_text(name)
        (tmp_path / name).with_name("a.png").write_text(name)
    (tmp_path / "in" / "own.png").symlink_to("a.png")
    (tmp_path / "in" / "inner.png").symlink_to(tmp_path / "in" / "inner" / "a.png")
    return tmp_path / "in"


def read(opener: Opener, path: Path) -> str:
    with open(path, opener=opener) as file:
        return file.read()


def test_files_and_links_of_the_folder_are_opened(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    for given in (folder, tmp_path / "link"):
        with enclose_input(given, follow_links=False) as opener:
            assert [read(opener, given / name) for name in ("a.png", "own.png", "inner.png")] == ["in/inner"] * 3


@pytest.mark.parametrize("name", ["a.png", "own.png"])
def test_a_name_that_became_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    with enclose_input(folder, follow_links=False) as opener:
        (folder / name).unlink()
        (folder / name).symlink_to(tmp_path / "out" / "a.png")
        with pytest.raises(ImageError, match=LEADS_OUT):
            read(opener, folder / name)
    with enclose_input(folder, follow_links=True) as opener:
        assert read(opener, folder / name) == "out/inner"


def test_a_folder_that_became_a_link_is_still_the_one_that_was_listed(folder: Path, tmp_path: Path) -> None:
    with enclose_input(folder, follow_links=False) as opener:
        folder.rename(tmp_path / "moved")
        folder.symlink_to(tmp_path / "out")
        assert read(opener, folder / "a.png") == "in/inner"
        with pytest.raises(ImageError, match=LEADS_OUT):
            read(opener, folder / "own.png")


@pytest.mark.parametrize("part", ["inner", "inner/a.png"])
def test_the_way_of_a_link_is_taken_without_links(
    folder: Path, tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of it is replaced just after the link was resolved."""
    resolve = os.path.realpath
    with enclose_input(folder, follow_links=False) as opener:

        def resolve_and_replace(path: str) -> str:
            resolved = resolve(path)
            (folder / part).rename(tmp_path / "moved")
            (folder / part).symlink_to(tmp_path / "out" / part)
            return resolved

        monkeypatch.setattr(os.path, "realpath", resolve_and_replace)
        with pytest.raises(ImageError, match=LEADS_OUT):
            read(opener, folder / "inner.png")


def test_what_became_no_file_is_refused_and_what_is_gone_is_an_error(folder: Path) -> None:
    with enclose_input(folder, follow_links=False) as opener:
        (folder / "a.png").unlink()
        with pytest.raises(FileNotFoundError):
            read(opener, folder / "a.png")
        os.mkfifo(folder / "a.png")
        for name in ("a.png", "own.png"):
            with pytest.raises(ImageError, match="is not a regular file"):
                read(opener, folder / name)
        with pytest.raises(ImageError, match="is a folder"):
            read(opener, folder / "inner")


def test_a_single_file_is_opened_wherever_it_leads(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder.parent / "out" / "a.png")
    with enclose_input(folder / "link.png", follow_links=False) as opener:
        assert read(opener, folder / "link.png") == "out/inner"


def test_no_descriptor_is_left_open(folder: Path) -> None:
    opened = Path("/proc/self/fd")
    if not opened.exists():
        pytest.skip("this system has no /proc")
    before = len(list(opened.iterdir()))
    for _ in range(3):
        with enclose_input(folder, follow_links=False) as opener:
            for name in ("a.png", "inner.png"):
                read(opener, folder / name)
            with pytest.raises(FileNotFoundError):
                read(opener, folder / "missing.png")
    assert len(list(opened.iterdir())) == before


def test_a_folder_that_cannot_be_read_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(OptionError, match="cannot be read: Permission denied"),
        enclose_input(folder, follow_links=False),
    ):
        pass
