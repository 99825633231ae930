"""Segmentation of arrays, for scripts and notebooks: `mosaicell.segment`, `Segmenter` and `Result`."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.answers.cell_filter import filter_cells
from mosaicell.arrays import Picture, arrange
from mosaicell.options import BLOOD, DEFAULT_SYSTEM, NGFF_VERSIONS, WEIGHTS_FOLDER, Options, find_weights
from mosaicell.reading.pixel_size import CENTIMETRE, UM_PER_CM, Resolution
from mosaicell.reading.pixels import ArrayPixels
from mosaicell.runs.segmentation import Segmentation
from mosaicell.systems import DOUBTFUL_F1, Choice, choose_way
from mosaicell.writing.cell_table import Columns, measure_cells, write_cell_table
from mosaicell.writing.masks import write_labels


@dataclass(frozen=True)
class Result:
    """What a picture holds.

    Attributes
    ----------
    labels : numpy.ndarray
        uint32 (y, x): 0 = background, cells are 1..n without gaps.
    modality : str
        "grey", "fluorescence" or "brightfield".
    predicted_f1 : float or None
        F1 at IoU 0.5 that the judges expect; None without judges or cells.
    scale : float
        Factor by which the picture was resized for the networks.
    cells_by_model : dict
        How many cells each model gave.
    """

    labels: np.ndarray
    modality: str
    predicted_f1: float | None
    scale: float
    cells_by_model: dict[str, int]
    _choice: Choice = field(repr=False)
    _picture: Picture = field(repr=False)

    def __len__(self) -> int:
        """How many cells there are."""
        return sum(self.cells_by_model.values())

    @property
    def doubtful(self) -> bool:
        """The judges expect most of the answer to be wrong; never so where they say nothing."""
        return self.predicted_f1 is not None and self.predicted_f1 < DOUBTFUL_F1

    @cached_property
    def cells(self) -> Columns:
        """What is measured of each cell, by the names of the columns of `--table`: arrays (n,), measured when asked."""
        picture = self._picture
        # of two channels the third is what makes them a colour image
        pixels = picture.pixels[..., : len(picture.names)]
        return measure_cells(self._choice, [(picture.names, ArrayPixels(pixels))], picture.pixel_um)

    def write_mask(self, path: str | os.PathLike[str]) -> None:
        """Write the label image as TIFF, with the size of its pixels where it is known."""
        resolution = None
        if self._picture.pixel_um is not None:
            y_um, x_um = self._picture.pixel_um
            resolution = Resolution(UM_PER_CM / x_um, UM_PER_CM / y_um, CENTIMETRE)
        write_labels(path, self.labels, resolution=resolution)

    def write_table(self, path: str | os.PathLike[str]) -> None:
        """Write `cells` as CSV."""
        write_cell_table(path, [self.cells])

    def write_geojson(self, path: str | os.PathLike[str]) -> None:
        """Write outlines and measurements for QuPath; ids are the same again for the same pixels and labels."""
        from mosaicell.writing.geojson import write_geojson

        content = sha256(np.ascontiguousarray(self._picture.pixels).tobytes())
        content.update(self.labels.tobytes())
        write_geojson(path, [self.labels], [self.cells], [{"t": 1, "z": 1}], content.hexdigest())

    def write_ome_zarr(self, path: str | os.PathLike[str], version: str = NGFF_VERSIONS[0]) -> None:
        """Write the label image as OME-Zarr 0.4 or 0.5: a folder with the group `labels/mosaicell`."""
        from mosaicell.writing.ome_zarr import write_ome_zarr

        write_ome_zarr(path, [self.labels], pixel_um=self._picture.pixel_um, version=version)

    def write_rois(self, path: str | os.PathLike[str]) -> None:
        """Write outlines for ImageJ's ROI Manager."""
        from mosaicell.writing.rois import write_rois

        write_rois(path, [self.labels])


class Segmenter:
    """Segments arrays; its models are loaded when one first needs them, and stay.

    Parameters
    ----------
    system, weights, device, threads, gpu_mem_limit_gb, batch_size, choose_by, tta, all_tiles, max_megapixels
        As the options of the command line of these names.

    Raises
    ------
    OptionError
        When there is no such system, way to choose or device, or weights are missing.

    Notes
    -----
    May be called from several threads, which wait for each other: a network uses all threads by itself. A copy that is
    pickled, as for a worker of Dask, loads its own models. No signal handlers are installed; warnings go to the
    log "mosaicell".
    """

    def __init__(
        self,
        system: str = DEFAULT_SYSTEM,
        *,
        weights: str | os.PathLike[str] = WEIGHTS_FOLDER,
        device: str = "auto",
        threads: int = 0,
        gpu_mem_limit_gb: float = 8.0,
        batch_size: int = 0,
        choose_by: str = "",
        tta: bool = False,
        all_tiles: bool = False,
        max_megapixels: float = 1000.0,
    ) -> None:
        # nothing is read from these folders and nothing written
        self._options = Options(
            input_path=Path(),
            output_path=Path(),
            system=system,
            weights_path=find_weights(weights),
            device=device,
            threads=threads,
            gpu_mem_limit_gb=gpu_mem_limit_gb,
            batch_size=batch_size,
            choose_by=choose_way(system, choose_by),
            tta=tta,
            all_tiles=all_tiles,
            max_megapixels=max_megapixels,
        )
        self._segmentation = Segmentation(self._options)
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._options = state["_options"]
        self._segmentation = Segmentation(self._options)
        self._lock = threading.Lock()

    @property
    def device(self) -> str:
        """Where the networks run: "cpu" or "cuda:N"."""
        return self._segmentation.models.device

    def segment(
        self,
        image: np.ndarray | Picture,
        axes: str | None = None,
        *,
        names: Sequence[str] = (),
        pixel_um: tuple[float, float] | None = None,
        min_area_px: int = 0,
        max_area_px: int = 0,
        exclude_edges: bool = False,
        expand_px: int = 0,
        blood: str = BLOOD[0],
    ) -> Result:
        """Segment a picture.

        Parameters
        ----------
        image : array or Picture
            Grey, or up to three channels that are seen as red, green and blue; bool, integers or floats of any range.
        axes : str
            What the axes of an array are: "YX", or "YXS" for colours, "YXC" or "CYX" for channels. Need not be said of
            two.
        names : sequence of str
            Of the channels of an array, for the columns of `Result.cells`.
        pixel_um : (float, float)
            Height and width of a pixel of an array.
        min_area_px, max_area_px, exclude_edges, expand_px
            Which cells stay, and how far they grow, as the options of the command line; 0 is no limit.
        blood
            Which cells of blood stay: "all", "auto" or "white", as the option of the command line.

        Raises
        ------
        ValueError
            When the axes are not those of the array, or it holds no pixels, more channels than are seen together, or
            more pixels or samples than memory allows (`mosaicell.errors.ImageError`).
        OptionError
            When a model is not the file that its card describes, or cannot be loaded.
        """
        picture = image if isinstance(image, Picture) else arrange(image, axes, names, pixel_um)
        wishes = replace(
            self._options,
            min_area_px=min_area_px,
            max_area_px=max_area_px,
            exclude_edges=exclude_edges,
            expand_px=expand_px,
            blood=blood,
        )
        with self._lock:
            limits = self._segmentation.measure_limits()
            limits.check_image(picture.pixels.shape[:2], picture.pixels.nbytes)
            pixels = ArrayPixels(picture.pixels)
            modality, choice = self._segmentation.answer(pixels, limits, tta=self._options.tta)
        choice = filter_cells(choice, wishes, pixels, modality)
        return Result(
            labels=choice.labels,
            modality=modality,
            predicted_f1=choice.predicted_f1,
            scale=choice.scale,
            cells_by_model=choice.cells,
            _choice=choice,
            _picture=picture,
        )


def segment(image: np.ndarray | Picture, axes: str | None = None, **settings: Any) -> Result:
    """Segment one picture; for several, a `Segmenter` keeps its models.

    Parameters
    ----------
    image, axes
        As in `Segmenter.segment`.
    settings
        Of `Segmenter` and of `Segmenter.segment`.
    """
    of_call = ("names", "pixel_um", "min_area_px", "max_area_px", "exclude_edges", "expand_px", "blood")
    given = {name: settings.pop(name) for name in of_call if name in settings}
    return Segmenter(**settings).segment(image, axes, **given)
