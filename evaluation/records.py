"""A run as a report sees it: its settings and a record for each image, where what is not known stays None or empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mosaicell.evaluation.metrics import Scores
from mosaicell.reading.images import mask_name


@dataclass(frozen=True)
class ImageRecord:
    """Everything known about one image of a run.

    Attributes
    ----------
    name : str
        File name of the image, or NAME where only `NAME_label.tiff` is known.
    mask : str
        Path of the mask in the run's folder where it is not named as the challenge says.
    is_one_of_several : bool
        The run has images whose names are the same up to the first dot.
    failures : tuple of str
        Why the image has no good mask; empty when nothing went wrong.
    skipped : bool
        The run found a mask and left the image alone.
    height, width, cells : int or None
        Size in pixels; cells in the mask.
    modality, listed_modality : str
        What the program took the image for, and what the manifest says.
    branch : str
        Model whose labels were taken, or that gave most of the cells.
    confidences : mapping
        Of every branch that ran, by name, 0..1.
    cells_by_branch : mapping
        How many cells each branch gave to the mask, by name.
    predicted_f1 : float or None
        What the program expects of its mask, 0..1, at IoU 0.5.
    doubtful : bool
        The program warned that most of the mask may be wrong.
    scale : float or None
        Factor by which the image was resized for the network.
    notes : tuple of str
        Decisions of the program, in words.
    seconds : mapping
        Wall time by stage inside the program, with "total".
    wall_s, late_s, slowest_s, tolerance_s : float or None
        Wall time of the whole program or container, seconds beyond the tolerance, slowest repetition, tolerance.
    ram_mb, gpu_mb : float or None
        Highest use of memory.
    f1 : float or None
        At IoU 0.5; 0 where a mask is missing.
    scores : tuple of Scores
        At every IoU that was asked for, rising.
    """

    name: str
    mask: str = ""
    is_one_of_several: bool = False
    failures: tuple[str, ...] = ()
    skipped: bool = False
    height: int | None = None
    width: int | None = None
    cells: int | None = None
    modality: str = ""
    listed_modality: str = ""
    branch: str = ""
    confidences: Mapping[str, float] = field(default_factory=dict)
    cells_by_branch: Mapping[str, int] = field(default_factory=dict)
    predicted_f1: float | None = None
    doubtful: bool = False
    scale: float | None = None
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    wall_s: float | None = None
    late_s: float | None = None
    slowest_s: float | None = None
    tolerance_s: float | None = None
    ram_mb: float | None = None
    gpu_mb: float | None = None
    f1: float | None = None
    scores: tuple[Scores, ...] = ()

    @property
    def mask_name(self) -> str:
        """Path of the image's mask in the run's folder, empty when the image's name allows none."""
        try:
            return self.mask or mask_name(self.name)
        except ValueError:
            return ""

    @property
    def key(self) -> str:
        """What the records of one image in several runs share, whether its full name is known or only its mask's."""
        try:
            return mask_name(self.name, "full" if self.is_one_of_several else "challenge")
        except ValueError:
            return self.name

    @property
    def pixels(self) -> int | None:
        """Height times width."""
        return self.height * self.width if self.height and self.width else None

    @property
    def tolerance_share(self) -> float | None:
        """Slowest wall time as a fraction of the tolerance."""
        seconds = self.slowest_s if self.slowest_s is not None else self.wall_s
        return seconds / self.tolerance_s if seconds is not None and self.tolerance_s else None

    @property
    def confidence(self) -> float | None:
        """Confidence of the branch that was taken."""
        return self.confidences.get(self.branch)


@dataclass(frozen=True)
class Run:
    """One run: its settings, its images in the order of their names, and what could not be read.

    Attributes
    ----------
    name : str
        What the report calls it.
    folder : Path
    images : tuple of ImageRecord
    settings : mapping
        "version", "system", "device", "threads", as far as run.json has them.
    weights : mapping
        SHA-256 of the weights by model name.
    elapsed_s : float or None
        Wall time of the whole run inside the program.
    problems : tuple of str
        Sentences about files of the folder that could not be used.
    has_masks : bool
        The folder holds at least one mask; without any, none is called missing.
    lists_images : bool
        run.json or timing.csv say which images there were; masks alone do not.
    other_truths : int
        True masks of images that the run did not have.
    """

    name: str
    folder: Path
    images: tuple[ImageRecord, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    elapsed_s: float | None = None
    problems: tuple[str, ...] = ()
    has_masks: bool = False
    lists_images: bool = False
    other_truths: int = 0
