"""The output folder: made and tried before the work, and never left with a result of an image that failed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from inference.errors import OptionError
from inference.images import mask_name
from inference.overlay import overlay_name
from inference.parts import remove_stale_parts, try_folder


def prepare_output(folder: Path, input_path: Path) -> None:
    """Make the output folder, try it, and clear away what killed runs left in it.

    Raises
    ------
    OptionError
        When it is the folder of the input, or cannot be made or written.
    """
    source = input_path.parent if input_path.is_file() else input_path
    if _is_same(folder, source):
        raise OptionError(f"{folder} is the folder of the input; masks there could replace files of yours")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"the output folder {folder} cannot be made: {error.strerror}") from error
    try:
        remove_stale_parts(folder)
        try_folder(folder)
    except OSError as error:
        raise OptionError(f"the output folder {folder} cannot be written: {error.strerror}") from error


def _is_same(folder: Path, other: Path) -> bool:
    """Say whether two paths lead to one folder, as those of a folder that is mounted at two places do."""
    try:
        return folder.samefile(other)
    except OSError:
        # one is not there or cannot be looked at; making and trying it will say so
        return False


@dataclass(frozen=True)
class Results:
    """The files that an image leads to.

    Attributes
    ----------
    mask, overlay
        Their paths.
    earlier
        What stood at the mask's place when the work began: its identity, None for nothing.
    """

    mask: Path
    overlay: Path
    earlier: tuple[int, int, int] | None

    @classmethod
    def of(cls, image: Path, folder: Path) -> Results:
        """Return the results of an image in an output folder, as they are now."""
        mask = folder / mask_name(image)
        return cls(mask, folder / overlay_name(image), _identify(mask))

    def are_there(self, *, overlay: bool) -> bool:
        """Say whether the mask is there, and the overlay when it is asked for."""
        wanted = [self.mask, self.overlay] if overlay else [self.mask]
        return all(result.is_file() and result.stat().st_size > 0 for result in wanted)

    def remove_failed(self) -> bool:
        """Remove what an earlier run left for an image that failed now; say whether there was a mask.

        A mask that another run has written meanwhile stays, and its overlay with it.

        Raises
        ------
        OSError
            When one cannot be removed.
        """
        removed = self.earlier is not None and _identify(self.mask) == self.earlier
        if removed:
            self.mask.unlink(missing_ok=True)
        if _identify(self.mask) is None:
            self.overlay.unlink(missing_ok=True)
        return removed


def _identify(path: Path) -> tuple[int, int, int] | None:
    with contextlib.suppress(OSError):
        found = path.lstat()
        return found.st_dev, found.st_ino, found.st_mtime_ns
    return None
