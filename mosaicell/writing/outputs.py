"""The output folder: made and tried before the work, and never left with a result of an image that failed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from mosaicell.errors import OptionError
from mosaicell.options import EXTRAS
from mosaicell.reading.enclosure import Opener
from mosaicell.reading.ngff import is_zarr
from mosaicell.runs.origin import Origin, Sameness, read_origin
from mosaicell.writing.masks import extra_name, mask_name
from mosaicell.writing.parts import remove_any, remove_stale_parts, try_folder


def prepare_output(folder: Path, *inputs: Path) -> None:
    """Make the output folder, try it, and clear away what killed runs left in it.

    Raises
    ------
    OptionError
        When it is the folder of an input, or cannot be made or written.
    """
    for input_path in inputs:
        source = input_path.parent if input_path.is_file() or is_zarr(input_path) else input_path
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


class Standing(Enum):
    """What stands at the place of an image's mask."""

    NOTHING = auto()
    #: the mask of another file, which is neither replaced nor removed
    ANOTHER = auto()
    #: a mask of the file, but the file, the options or the weights have changed, or what shall be beside it is missing
    OUTDATED = auto()
    DONE = auto()


def make_places(folder: Path, places: Iterable[Path]) -> None:
    """Make the sub-folders of the results, and clear away what killed runs left in them.

    Raises
    ------
    OptionError
        When one cannot be made or read.
    """
    for place in sorted({folder / place for place in places} - {folder}):
        try:
            place.mkdir(parents=True, exist_ok=True)
            remove_stale_parts(place)
        except OSError as error:
            raise OptionError(f"the output folder {place} cannot be made: {error.strerror}") from error


@dataclass(frozen=True)
class Results:
    """The files that an image leads to.

    Attributes
    ----------
    mask
        Its path.
    extras
        The paths of what may be beside it, by the names of `options.EXTRAS`.
    earlier
        What stood at the mask's place when the work began: its identity, None for nothing.
    origin
        Of which file that mask says that it is; None when it says nothing, as those of other programs.
    twin
        Where a mask of another form may stand, beside which the same table belongs; None where there is no other form.
    """

    mask: Path
    extras: dict[str, Path]
    earlier: tuple[int, int, int] | None
    origin: Origin | None = None
    twin: Path | None = None

    @classmethod
    def of(cls, image: Path, folder: Path, names: str, *, as_zarr: bool = False) -> Results:
        """Return the results of an image in an output folder, as they are now.

        Parameters
        ----------
        image
            The image.
        folder
            Where its results are written.
        names
            One of `options.NAME_RULES`.
        as_zarr
            The mask is OME-Zarr, beside which stands a table alone.
        """
        places = {extra: folder / extra_name(image, extra, names) for extra in EXTRAS}
        labels = folder / mask_name(image, names)
        mask, twin = (places["ome_zarr"], labels) if as_zarr else (labels, None)
        extras = {"table": places["table"]} if as_zarr else places
        earlier = _identify(mask)
        return cls(mask, extras, earlier, read_origin(mask) if earlier else None, twin)

    def compare(self, origin: Origin, image: Path, opener: Opener, *, extras: Iterable[str]) -> Standing:
        """Say what the mask that is there is to an image.

        Parameters
        ----------
        origin
            What a new mask would say.
        image, opener
            The image, and what opens it.
        extras
            Which of `options.EXTRAS` have to be there too.

        Notes
        -----
        A mask that does not say of which file it is counts as this one's, by its name. An empty file is no mask.
        """
        if not _has_content(self.mask):
            return Standing.NOTHING
        if self.origin is not None:
            sameness = origin.compare(self.origin, image, opener)
            if sameness is Sameness.ANOTHER:
                return Standing.ANOTHER
            if sameness is Sameness.CHANGED or self.origin.settings != origin.settings:
                return Standing.OUTDATED
        return Standing.DONE if all(_has_content(self.extras[extra]) for extra in extras) else Standing.OUTDATED

    def remove_outdated(self, origin: Origin, extras: Iterable[str]) -> list[str]:
        """Remove what an earlier run wrote beside its mask, now that another mask stands there.

        Parameters
        ----------
        origin
            What the new mask says.
        extras
            Which of `options.EXTRAS` were written with it.

        Returns
        -------
        list of str
            The names of the files. Where file and settings are those of the earlier mask, what is beside it stays.

        Raises
        ------
        OSError
            When one cannot be removed.
        """
        if self.earlier is None:
            return []
        if self.origin is not None and (self.origin.digest, self.origin.settings) == (origin.digest, origin.settings):
            return []
        outdated = [path for extra, path in self.extras.items() if extra not in extras and _has_content(path)]
        for path in outdated:
            remove_any(path)
        return [path.name for path in outdated]

    def remove_failed(self) -> bool:
        """Remove what an earlier run left for an image that failed now; say whether there was a mask.

        Not for the mask of another file. A mask that another run has written meanwhile stays, and what is beside it; so
        does one of another form, with the table.

        Raises
        ------
        OSError
            When one cannot be removed.
        """
        removed = self.earlier is not None and _identify(self.mask) == self.earlier
        if removed:
            remove_any(self.mask)
        if _identify(self.mask) is None and not (self.twin and self.twin.exists()):
            for path in self.extras.values():
                remove_any(path)
        return removed


def _has_content(path: Path) -> bool:
    return path.is_dir() or (path.is_file() and path.stat().st_size > 0)


def _identify(path: Path) -> tuple[int, int, int] | None:
    with contextlib.suppress(OSError):
        found = path.lstat()
        return found.st_dev, found.st_ino, found.st_mtime_ns
    return None
