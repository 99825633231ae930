"""Completion in a shell, as bash itself offers it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mosaicell.command_line import main
from mosaicell.command_options import build_parser
from mosaicell.completion import write_completion
from mosaicell.options import SYSTEM_NAMES


def complete(folder: Path, shell: str, *words: str) -> list[str]:
    """Return what a shell offers for the last of the words of a command."""
    line = f"COMP_WORDS=(mosaicell {' '.join(words)!s}); COMP_CWORD={len(words)}; _mosaicell; "
    if not words[-1]:
        line = line.replace(");", " '');", 1)
    script = write_completion(build_parser()) + f'\n{line} printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run([shell, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["--ome"], ["--ome-zarr", "--ome-zarr-version"]),
        (["--mask-format", ""], ["tiff", "ome-tiff"]),
        (["--mask_format", "o"], ["ome-tiff"]),
        (["IMAGES", "--system", ""], list(SYSTEM_NAMES)),
        (["--device", ""], ["auto", "cpu", "cuda"]),
        (["--z", "f"], ["first", "focus"]),
        (["--part", "a"], ["auto"]),
        # files, which the shell offers where nothing else is
        (["--output", ""], []),
        ([""], []),
    ],
)
def test_bash_offers_options_and_their_words(tmp_path: Path, words: list[str], offered: list[str]) -> None:
    assert complete(tmp_path, "bash", *words) == offered


def test_every_option_is_offered_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offered = complete(tmp_path, "bash", "-")
    assert len(offered) == len(set(offered))
    assert {"-i", "--input", "-o", "--output", "--choose-by", "--completion", "--help"} <= set(offered)
    assert not [name for name in offered if "_" in name]
    assert main(["--completion"]) == 0
    assert capsys.readouterr().out.rstrip() == write_completion(build_parser())


def test_zsh_takes_the_same_script(tmp_path: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("needs zsh")
    done = subprocess.run(
        ["zsh", "-f", "-c", write_completion(build_parser()) + "\nfunctions _mosaicell >/dev/null && print there"],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["there"]
