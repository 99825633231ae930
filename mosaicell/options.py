"""Options of a run, and the names that the command line may offer without loading anything heavy."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from mosaicell.errors import OptionError
from mosaicell.pictures.selection import Selection

VERSION = "0.1.0"
#: the modules of `mosaicell.systems`, as the command line names them
SYSTEM_NAMES = ("cell-segmenter", "sribdmed", "maunet", "cellpose-cvml", "mde-cellmask")
DEFAULT_SYSTEM = "cell-segmenter"
#: how a mask is named after its image: without the suffix only, or up to the first dot, as the challenge's scorer wants
NAME_RULES = ("full", "challenge")
DEFAULT_NAMES = "full"
#: what may be written beside a mask, by the option that asks for it, and how the names end
EXTRAS = {
    "overlay": "_overlay.png",
    "table": "_cells.csv",
    "geojson": "_cells.geojson",
    "rois": "_rois.zip",
    "ome_zarr": ".zarr",
}
#: how ids are stored: in 16 bits where they fit, or in 32 always
MASK_DTYPES = ("smallest", "uint32")
#: what a mask is: TIFF, or TIFF with OME's XML
MASK_FORMATS = ("tiff", "ome-tiff")
#: of OME-Zarr as it is written; viewers read the first
NGFF_VERSIONS = ("0.4", "0.5")
#: more threads only cost: 4,096 take 6 s to start, 20,000 exhaust a machine
MAX_THREADS = 1024
#: further than any cell reaches beyond its nucleus; the time goes with it
MAX_EXPANSION_PX = 500
#: which cells of blood count: all, white ones only, or those where a smear shows white ones among red
BLOOD = ("all", "auto", "white")
WEIGHTS_FOLDER = Path(__file__).parent.resolve() / "weights"
#: a name instead of a folder of weights: models that were trained on images of open terms alone
OPEN_WEIGHTS = "open"


def find_weights(name: str | os.PathLike[str]) -> Path:
    """Return the folder of weights that is meant: a path, or `OPEN_WEIGHTS` for those beside the shipped ones."""
    return WEIGHTS_FOLDER / OPEN_WEIGHTS if name == OPEN_WEIGHTS else Path(name)


@dataclass(frozen=True)
class Options:
    """What the user asked for.

    Attributes
    ----------
    weights_path
        Folder with manifest.json and the models it names.
    threads
        CPU threads; 0 takes all that the process may use.
    gpu_mem_limit_gb
        Size of onnxruntime's arena on the GPU in GB (1e9 bytes).
    batch_size
        Tiles per network call; 0 chooses 1 on the CPU, 4 on a GPU.
    choose_by
        One of the system's ways to choose; the first of them where it is empty.
    tta
        Test-time augmentation: take the mean of what the networks answer for each tile and for mirrored views of it.
    all_tiles
        Run the network on the empty tiles of slides too.
    max_megapixels
        Largest image in 10^6 pixels.
    follow_links
        Also segment links of the input folder that lead out of it.
    names
        One of `NAME_RULES`.
    further_inputs
        More folders and files beside `input_path`.
    recursive, include
        As in `inputs.Search`.
    part
        As in `shares.take_part`.
    mask_dtype, mask_format
        One of `MASK_DTYPES`, and of `MASK_FORMATS`.
    selection
        Which of several pictures in a file.
    min_area_px, max_area_px, exclude_edges, expand_px
        Which cells stay and how far they grow, as in `cell_filter.filter_cells`; 0 stands for no limit.
    blood
        One of `BLOOD`.
    overlay, table, geojson, rois, ome_zarr
        Write an outline PNG, a table of the cells, their outlines for QuPath and for ImageJ, and the labels as
        OME-Zarr, beside each mask.
    ome_zarr_version
        One of `NGFF_VERSIONS`.
    skip_existing, report
        Leave images alone whose results exist; write run.json.

    Raises
    ------
    OptionError
        When options contradict each other.
    """

    input_path: Path
    output_path: Path
    system: str = DEFAULT_SYSTEM
    weights_path: Path = WEIGHTS_FOLDER
    device: str = "auto"
    threads: int = 0
    gpu_mem_limit_gb: float = 8.0
    batch_size: int = 0
    choose_by: str = ""
    tta: bool = False
    all_tiles: bool = False
    max_megapixels: float = 1000.0
    follow_links: bool = False
    names: str = DEFAULT_NAMES
    further_inputs: tuple[Path, ...] = ()
    recursive: bool = False
    include: tuple[str, ...] = ()
    part: str = ""
    mask_dtype: str = "smallest"
    mask_format: str = "tiff"
    selection: Selection = field(default_factory=Selection)
    min_area_px: int = 0
    max_area_px: int = 0
    exclude_edges: bool = False
    expand_px: int = 0
    blood: str = BLOOD[0]
    overlay: bool = False
    table: bool = False
    geojson: bool = False
    rois: bool = False
    ome_zarr: bool = False
    ome_zarr_version: str = NGFF_VERSIONS[0]
    skip_existing: bool = False
    report: bool = False

    def __post_init__(self) -> None:
        if self.blood not in BLOOD:
            raise OptionError(f"--blood {self.blood} is none of {', '.join(BLOOD)}")
        if 0 < self.max_area_px < self.min_area_px:
            raise OptionError(
                f"--max-area {self.max_area_px} is below --min-area {self.min_area_px}: no cell would stay"
            )

    @property
    def extras(self) -> tuple[str, ...]:
        """Which of `EXTRAS` are asked for."""
        return tuple(name for name in EXTRAS if getattr(self, name))

    @property
    def inputs(self) -> tuple[Path, ...]:
        """All folders and files to segment."""
        return self.input_path, *self.further_inputs
