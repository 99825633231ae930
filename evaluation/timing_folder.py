"""The folders of a timing: the images that it takes, and what it leaves where it writes."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from mosaicell.evaluation.timed_image import read_names, write_csv
from mosaicell.reading.images import SUFFIXES, mask_name

TABLE, SUMMARY, REPORT, LOGS = "timing.csv", "timing.md", "run.json", "logs"
#: begins the name of the folder that holds the inputs and outputs of one run
WORK_PREFIX = ".timing-"


def find_images(folder: Path) -> list[Path]:
    """List the image files of a folder by name; others are named on stderr and left out, hidden files in silence.

    Raises
    ------
    ValueError
        If there is no image, an image may not be read, or two images' masks would have the same name.
    OSError
        If the folder cannot be read.
    """
    owners: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if not path.is_file() or path.suffix.lower() not in SUFFIXES:
            print(f"{path.name}: no image file ({', '.join(SUFFIXES)}), left out", file=sys.stderr)
            continue
        if not os.access(path, os.R_OK):
            raise ValueError(f"{path} may not be read; allow it, or take the image out")
        owner = owners.setdefault(mask_name(path), path)
        if owner != path:
            raise ValueError(f"{owner.name} and {path.name} would share the mask {mask_name(path)}; rename one")
    if not owners:
        raise ValueError(f"{folder} holds no image file ({', '.join(SUFFIXES)})")
    return list(owners.values())


def prepare_output(folder: Path) -> None:
    """Make the output folder, or take out of it what an earlier timing wrote.

    Raises
    ------
    ValueError
        If it holds files but no table of an earlier timing.
    OSError
        If it cannot be made, read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / TABLE
    if table.exists():
        for name in read_names(table):
            for earlier in (folder / mask_name(name), folder / mask_name(name, "full"), log_path(folder, name)):
                earlier.unlink(missing_ok=True)
        for name in (SUMMARY, REPORT):
            (folder / name).unlink(missing_ok=True)
        for left in folder.glob(f"{WORK_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
    elif any(folder.iterdir()):
        raise ValueError(f"{folder} holds files but no {TABLE}; name a new folder or that of an earlier timing")
    (folder / LOGS).mkdir(exist_ok=True)
    # from now on the folder is known as ours, however the run ends
    write_csv(table, [])


def log_path(folder: Path, name: str) -> Path:
    """Return where the output of the runs on an image goes: its name ends at the first dot, as the mask's does."""
    return folder / LOGS / f"{mask_name(name).removesuffix('_label.tiff')}.log"
