"""The plugin for napari, in its viewer without a screen: what its reader opens, its widgets add and save."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import mosaicell
from mosaicell.napari_plugin.cell_features import to_features
from mosaicell.napari_plugin.masks import get_reader
from mosaicell.napari_plugin.pairs import LABEL_ENDINGS, PAIRS_NEEDED, count_pairs, finetune_command, save_pair
from mosaicell.options import DEFAULT_SYSTEM, WEIGHTS_FOLDER
from mosaicell.training import finetune, pairs
from mosaicell.training.own_images import OwnImage
from mosaicell.training.synthesis import draw_scene
from mosaicell.writing.label_pages import LabelPages
from mosaicell.writing.masks import write_labels
from tests.toys import draw_discs, write_judges, write_weights

#: napari and what it brings warn of each other
pytestmark = [pytest.mark.consumers, pytest.mark.filterwarnings("ignore")]
MANIFEST = Path(mosaicell.__file__).parent / "napari_plugin" / "napari.yaml"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("toys") / "weights")


@pytest.fixture(scope="module")
def segmenter(weights: Path) -> mosaicell.Segmenter:
    return mosaicell.Segmenter(weights=weights)


@pytest.fixture(scope="module")
def napari() -> Any:
    """Return napari, which knows the plugin, with Qt and without a screen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QT_QPA_PLATFORM", "offscreen")
        pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)
        napari, npe2 = pytest.importorskip("napari"), pytest.importorskip("npe2")
        from napari.plugins import _initialize_plugins

        _initialize_plugins()
        npe2.PluginManager.instance().register(npe2.PluginManifest.from_file(MANIFEST))
        napari.qt.get_qapp()
        return napari


@pytest.fixture
def viewer(napari: Any) -> Any:
    """Return the model of a viewer: layers, sliders and tools, without what draws them."""
    from napari.components import ViewerModel
    from napari.utils.notifications import notification_manager

    notification_manager.records.clear()
    return ViewerModel()


def open_widget(viewer: Any, kind: str) -> Any:
    """Open a widget of the plugin, and let it know of layers, as the window of napari does."""
    from npe2 import PluginManager

    widget = PluginManager.instance().commands.get(f"mosaicell.{kind}")(viewer)
    for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
        event.connect(widget.reset_choices)
    return widget


@pytest.fixture
def segment(napari: Any, viewer: Any, weights: Path) -> Callable[..., Any]:
    """Return what segments a layer by the widget, and returns the new layer."""
    widget = open_widget(viewer, "segment_layer")

    def press(image: Any, second: Any = None, folder: Path = weights, system: str = DEFAULT_SYSTEM) -> Any:
        widget.image_layer.value, widget.second_layer.value, widget.weights.value = image, second, folder
        widget.system.value = system
        before = list(viewer.layers)
        widget.button.native.click()
        while not widget.button.enabled:
            napari.qt.get_qapp().processEvents()
        found = [layer for layer in viewer.layers if layer not in before]
        return found[0] if found else None

    return press


def notices() -> list[str]:
    from napari.utils.notifications import notification_manager

    assert all(type(notice).__name__ == "Notification" for notice in notification_manager.records), "a traceback"
    return [notice.message for notice in notification_manager.records]


def check_features(layer: Any, columns: dict[str, np.ndarray]) -> None:
    expected = to_features(columns)
    assert list(layer.features) == list(expected)
    for name, values in expected.items():
        if values.dtype.kind == "U":
            assert list(layer.features[name])[1:] == list(values)[1:]
        else:
            np.testing.assert_allclose(layer.features[name].to_numpy(float), values, rtol=1e-7)


# what the reader opens


def test_the_manifest_names_what_is_there(napari: Any) -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    assert manifest.name == "mosaicell"


def test_the_widgets_stand_in_the_window(napari: Any) -> None:
    window = napari.Viewer(show=False)
    for name, kind in (("Segment this layer", "SegmentWidget"), ("Save as training pair", "PairWidget")):
        _, widget = window.window.add_plugin_dock_widget("mosaicell", name)
        assert type(widget).__name__ == kind
        widget.button.native.click()
    window.close()


@pytest.mark.parametrize("opened", ["a.1_label.tiff", "a.1_cells.csv"])
def test_a_mask_opens_with_its_table(viewer: Any, segmenter: mosaicell.Segmenter, tmp_path: Path, opened: str) -> None:
    result = segmenter.segment(draw_discs(3), pixel_um=(0.5, 0.5))
    result.write_mask(tmp_path / "a.1_label.tiff")
    result.write_table(tmp_path / "a.1_cells.csv")
    (layer,) = viewer.open(str(tmp_path / opened), plugin="mosaicell")
    assert (type(layer).__name__, layer.name, layer.data.dtype) == ("Labels", "a.1 cells", np.uint32)
    np.testing.assert_array_equal(layer.data, result.labels)
    # as napari opens the image
    assert list(layer.scale) == [1, 1]
    check_features(layer, result.cells)
    shown = layer._get_properties((60, 30), dims_displayed=[0, 1])
    assert shown[0].startswith(f"area_px: {np.sum(layer.data == layer.data[60, 30])}")


def test_row_and_index_of_the_features_are_the_id(segmenter: mosaicell.Segmenter) -> None:
    result = segmenter.segment(draw_discs(3))
    features = to_features(result.cells)
    assert list(features["index"]) == [0, 1, 2, 3]
    assert "label" not in features
    np.testing.assert_array_equal(features["area_px"][1:], np.bincount(result.labels.ravel())[1:])
    assert np.isnan(features["area_px"][0])
    assert features["branch"][0] == ""
    empty = to_features(segmenter.segment(np.zeros((50, 50), np.uint8)).cells)
    assert {len(values) for values in empty.values()} == {1}


def test_pages_open_as_a_stack_without_the_table(viewer: Any, tmp_path: Path) -> None:
    pages = LabelPages()
    pages.add(np.eye(40, dtype=np.uint16))
    pages.add(np.eye(40, dtype=np.uint16) * 2)
    write_labels(tmp_path / "a_label.tiff", pages)
    (layer,) = viewer.open(str(tmp_path / "a_label.tiff"), plugin="mosaicell")
    np.testing.assert_array_equal(layer.data, list(pages))
    (tmp_path / "a_cells.csv").write_text("page,label\n1,1\n2,1\n", encoding="utf-8")
    read = get_reader(str(tmp_path / "a_label.tiff"))
    assert read is not None
    with pytest.warns(UserWarning, match=r"a_cells\.csv is left out: ids begin anew on each page"):
        ((_, settings, _),) = read(str(tmp_path / "a_label.tiff"))
    assert settings["features"] == {}


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("label,area_px\n1,20\n", "is left out: its rows are not the cells of the mask"),
        ("label,area_px\n1\n2\n", "cannot be read: it is no table of cells"),
        ("", "cannot be read: it is no table of cells"),
    ],
)
def test_a_table_of_other_cells_is_left_out(tmp_path: Path, table: str, complaint: str) -> None:
    labels = np.eye(40, dtype=np.uint16)
    labels[3] = 2
    write_labels(tmp_path / "a_label.tiff", labels)
    (tmp_path / "a_cells.csv").write_text(table, encoding="utf-8")
    read = get_reader(str(tmp_path / "a_label.tiff"))
    assert read is not None
    with pytest.warns(UserWarning, match=complaint):
        ((found, settings, _),) = read(str(tmp_path / "a_label.tiff"))
    np.testing.assert_array_equal(found, labels)
    assert settings["features"] == {}


def test_what_is_no_mask_is_left_to_others(tmp_path: Path) -> None:
    write_labels(tmp_path / "a_label.tiff", np.eye(40, dtype=np.uint16))
    assert get_reader(str(tmp_path / "a_label.tiff"))
    assert get_reader([str(tmp_path / "a_label.tiff")]) is None
    tifffile.imwrite(tmp_path / "float_label.tiff", np.ones((40, 40), np.float32))
    tifffile.imwrite(tmp_path / "colour_label.tiff", np.ones((40, 40, 3), np.uint8), photometric="rgb")
    (tmp_path / "a_label.tiff").rename(tmp_path / "a.tiff")
    (tmp_path / "cut_label.tiff").write_bytes((tmp_path / "a.tiff").read_bytes()[:50])
    (tmp_path / "alone_cells.csv").write_text("label\n1\n", encoding="utf-8")
    for name in (
        "float_label.tiff",
        "colour_label.tiff",
        "a.tiff",
        "cut_label.tiff",
        "alone_cells.csv",
        "no_label.tiff",
    ):
        assert get_reader(str(tmp_path / name)) is None, name


def test_other_files_are_not_even_looked_at(viewer: Any) -> None:
    from npe2 import PluginManager

    def asked(name: str) -> bool:
        found = PluginManager.instance().iter_compatible_readers(name)
        return "mosaicell" in {reader.plugin_name for reader in found}

    assert asked("a.b_label.tiff")
    assert asked("a_cells.csv")
    assert not any(map(asked, ("a.tif", "a.tiff", "a.csv", "a_label.png")))


# cells of a layer


def test_cells_lie_upon_their_image(viewer: Any, segment: Callable[..., Any], segmenter: mosaicell.Segmenter) -> None:
    image = viewer.add_image(
        draw_discs(3), name="a", scale=(500, 250), translate=(7, 8), rotate=30, units=("nm", "nm"), affine=np.eye(3) * 2
    )
    expected = segmenter.segment(draw_discs(3), names=["a"], pixel_um=(0.5, 0.25))
    layer = segment(image)
    assert (type(layer).__name__, layer.name) == ("Labels", "a cells")
    np.testing.assert_array_equal(layer.data, expected.labels)
    assert layer.data.max() == 3
    for place in ("scale", "translate", "rotate", "shear", "affine"):
        np.testing.assert_allclose(getattr(layer, place), getattr(image, place), err_msg=place)
    assert layer.units == image.units
    check_features(layer, expected.cells)
    np.testing.assert_allclose(layer.features["area_um2"][1:], layer.features["area_px"][1:] / 8)
    assert notices() == []


def test_the_viewer_goes_on_meanwhile(napari: Any, viewer: Any, weights: Path) -> None:
    from mosaicell.napari_plugin.segment_widget import load_segmenter

    widget = open_widget(viewer, "segment_layer")
    widget.button.native.click()
    assert widget.said.value == "open an image first"
    viewer.add_image(draw_discs(3), name="a")
    widget.weights.value = weights
    widget.button.native.click()
    assert (widget.button.enabled, widget.said.value, len(viewer.layers)) == (False, "segmenting a ...", 1)
    while not widget.button.enabled:
        napari.qt.get_qapp().processEvents()
    assert widget.said.value.startswith("a: 3 cells")
    assert len(viewer.layers) == 2
    # the models stay
    kept = load_segmenter(DEFAULT_SYSTEM, weights)
    widget.button.native.click()
    while not widget.button.enabled:
        napari.qt.get_qapp().processEvents()
    assert load_segmenter(DEFAULT_SYSTEM, weights) is kept


def test_a_doubtful_answer_is_shown_with_a_warning(viewer: Any, segment: Callable[..., Any], tmp_path: Path) -> None:
    write_judges(write_weights(tmp_path / "weights"), image_offset=-3.0)
    assert segment(viewer.add_image(draw_discs(3), name="a"), folder=tmp_path / "weights") is not None
    assert notices() == ["a: doubtful, most of it may be wrong: the predicted F1 is 0.05"]


def test_a_later_answer_takes_the_place_of_an_earlier_one(viewer: Any, segment: Callable[..., Any]) -> None:
    image = viewer.add_image(draw_discs(3), name="a")
    layer = segment(image)
    layer.opacity = 0.3
    layer.data = np.zeros_like(layer.data)
    image.data, image.scale = draw_discs(5), (2, 2)
    assert segment(image) is None
    assert [found.name for found in viewer.layers] == ["a", "a cells"]
    assert (layer.data.shape, layer.data.max(), layer.opacity) == ((120, 300), 5, 0.3)
    assert list(layer.scale) == [2, 2]
    assert len(layer.features) == 6
    # an image of that name is left alone
    viewer.layers.remove(layer)
    viewer.add_image(draw_discs(1), name="a cells")
    assert segment(image).name == "a cells [1]"


def test_colours_are_seen_without_transparency(
    viewer: Any, segment: Callable[..., Any], segmenter: mosaicell.Segmenter
) -> None:
    colours = np.stack([draw_discs(3), draw_discs(3) // 2, draw_discs(3) // 3, np.full((120, 180), 255)], axis=-1)
    expected = segmenter.segment(colours[..., :3].astype(np.uint8), "YXS")
    layer = segment(viewer.add_image(colours.astype(np.uint8), name="a", rgb=True))
    np.testing.assert_array_equal(layer.data, expected.labels)
    check_features(layer, expected.cells)
    assert "mean_red" in layer.features


def test_two_layers_are_channels_of_one_image(
    viewer: Any, segment: Callable[..., Any], segmenter: mosaicell.Segmenter
) -> None:
    channels = np.stack([draw_discs(3), draw_discs(3)[:, ::-1] // 2])
    channels[0, :, :60] = 0
    first, second = (viewer.add_image(plane, name=name) for plane, name in zip(channels, "ab", strict=True))
    expected = segmenter.segment(channels, "CYX", names=["a", "b"])
    layer = segment(first, second)
    np.testing.assert_array_equal(layer.data, expected.labels)
    assert {"mean_a", "mean_b"} < set(layer.features)
    assert layer.data.any()


def test_of_a_stack_the_shown_plane_alone_is_read(viewer: Any, segment: Callable[..., Any]) -> None:
    array = pytest.importorskip("dask.array")
    read = []

    def draw(block_info: Any = None) -> np.ndarray:
        time, plane, *_ = block_info[None]["chunk-location"]
        read.append((time, plane))
        return draw_discs(3)[None, None] * np.uint8(plane == 2)

    stack = array.map_blocks(
        draw, chunks=((1,) * 3, (1,) * 4, 120, 180), dtype=np.uint8, meta=np.zeros((0,) * 4, np.uint8)
    )
    image = viewer.add_image(stack, name="a", scale=(1, 3, 0.5, 0.5), translate=(5, 6, 7, 8))
    viewer.dims.set_point((0, 1), (6, 12))
    read.clear()
    layer = segment(image)
    assert set(read) <= {(1, 2)}
    assert (layer.name, layer.data.shape, layer.data.max()) == ("a at 1, 2 cells", (1, 1, 120, 180), 3)
    np.testing.assert_allclose(layer.data_to_world((0, 0, 4, 5)), image.data_to_world((1, 2, 4, 5)))
    viewer.dims.set_point((0, 1), (6, 6))
    assert not segment(image).data.any()
    assert [found.name for found in viewer.layers] == ["a", "a at 1, 2 cells", "a at 1, 0 cells"]


def test_of_several_scales_the_largest_is_segmented(viewer: Any, segment: Callable[..., Any]) -> None:
    discs = draw_discs(3)
    image = viewer.add_image([discs, discs[::2, ::2]], name="a", multiscale=True, scale=(3, 3))
    layer = segment(image)
    assert (layer.data.shape, layer.data.max(), list(layer.scale)) == ((120, 180), 3, [3, 3])


def test_what_cannot_be_segmented_is_said_in_one_sentence(
    viewer: Any, segment: Callable[..., Any], tmp_path: Path
) -> None:
    grey = viewer.add_image(draw_discs(3), name="a")
    colours = viewer.add_image(np.zeros((120, 180, 3), np.uint8), name="colours")
    large = viewer.add_image(draw_discs(5), name="large")
    stack = viewer.add_image(np.zeros((4, 120, 180), np.uint8), name="stack")
    assert segment(grey, colours) is segment(grey, large) is segment(grey, folder=tmp_path) is None
    assert segment(grey, system="maunet") is None
    viewer.dims.order = (1, 0, 2)
    assert segment(stack) is None
    viewer.dims.order = (0, 1, 2)
    viewer.dims.ndisplay = 3
    assert segment(grey, stack) is None
    viewer.dims.ndisplay = 2
    viewer.add_image(np.zeros((9, 120, 180), np.uint8), name="longer")
    viewer.dims.set_point(0, 6)
    assert segment(stack) is None
    said = notices()
    assert said.pop(2).startswith(f"cannot read the model cards {tmp_path}/manifest.json")
    assert "maunet" in said.pop(2)
    assert said == [
        "a: a colour image has all its channels: choose no second one, or two grey layers",
        "a: its shape is (120, 180), that of the second channel (120, 300)",
        "stack: shows no single plane of its last two axes: switch to two dimensions, in their usual order",
        "stack: shows no single plane of its last two axes: switch to two dimensions, in their usual order",
        "stack: has no plane where the sliders stand",
    ]
    assert not any(type(layer).__name__ == "Labels" for layer in viewer.layers)


# pairs for a training


def test_corrected_labels_reach_a_training(viewer: Any, segment: Callable[..., Any], tmp_path: Path) -> None:
    """The shipped models segment a drawn image, a cell is drawn by hand, and a fine-tuning reads just that."""
    pixels, truth = draw_scene("fluorescence_nuclei", (128, 128), np.random.default_rng(1), diameter_px=24)
    image = viewer.add_image(np.stack([np.zeros_like(pixels), pixels])[..., 0], name="my nuclei: 1/2")
    viewer.dims.set_point(0, 1)
    labels = segment(image, folder=WEIGHTS_FOLDER)
    assert int(labels.data.max()) == pytest.approx(int(truth.max()), abs=3)
    before = labels.data.copy()
    labels.brush_size = 6
    labels.paint((0, 64, 64), before.max() + 5)
    assert (labels.data != before).any()
    widget = open_widget(viewer, "save_pair")
    widget.image_layer.value, widget.label_layer.value, widget.folder.value = image, labels, tmp_path
    widget.button.native.click()
    assert notices() == []
    assert widget.said.value == "saved my_nuclei_1_2_at_1.tif; 1 of 3 pairs"
    (pair,) = pairs.find_pairs(tmp_path)
    assert pair.image.name == "my_nuclei_1_2_at_1.tif"
    np.testing.assert_array_equal(OwnImage(pair).labels, labels.data[0])
    np.testing.assert_array_equal(pair.read()[0], pixels)

    # nothing is lost by a second press
    labels.fill((0, 0, 0), 0)
    labels.data = labels.data * 2
    widget.button.native.click()
    (said,) = notices()
    assert said.startswith(f"my nuclei: 1/2: there is {pair.image} and {pair.labels} already")
    np.testing.assert_array_equal(OwnImage(pair).labels * 2, labels.data[0])
    widget.replace.value = True
    widget.button.native.click()
    np.testing.assert_array_equal(OwnImage(pair).labels, labels.data[0])
    viewer.dims.set_point(0, 0)
    widget.button.native.click()
    assert notices()[1:] == ["my nuclei: 1/2 at 1 cells: has no plane where the sliders stand"]


@pytest.mark.parametrize(
    "image",
    [
        np.arange(600, dtype=np.uint8).reshape(20, 30),
        np.arange(600, dtype=np.uint16).reshape(20, 30) * 100,
        np.linspace(-3, 1e6, 600, dtype=np.float32).reshape(20, 30),
        np.arange(1800, dtype=np.uint16).reshape(20, 30, 3),
        np.linspace(0, 1, 1800, dtype=np.float32).reshape(20, 30, 3),
    ],
    ids=lambda image: f"{image.dtype} {image.ndim}",
)
def test_a_training_reads_the_pixels_that_were_saved(tmp_path: Path, image: np.ndarray) -> None:
    labels = np.eye(20, 30, dtype=np.int32) * 70_000
    save_pair(tmp_path, "a.b", image, labels)
    (pair,) = pairs.find_pairs(tmp_path)
    pixels, found = pair.read()
    np.testing.assert_array_equal(pixels, image.reshape(20, 30, -1))
    assert pixels.dtype == image.dtype
    np.testing.assert_array_equal(found, labels)


def test_what_is_no_pair_is_refused(tmp_path: Path) -> None:
    image, labels = np.zeros((20, 30), np.uint8), np.eye(20, 30, dtype=np.uint32)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "taken.png").touch()
    for name, wrong, complaint in (
        ("a", labels.T, r"its shape is \(20, 30\), that of the labels \(30, 20\)"),
        ("a", labels * 0, "the labels hold no cell"),
        ("a_label", labels, "the name 'a_label', which is none or that of labels"),
        ("../..", labels, "the name '', which is none"),
        ("taken", labels, "taken.png would have the same labels"),
    ):
        with pytest.raises(ValueError, match=complaint):
            save_pair(tmp_path, name, image, wrong, replace=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["images", "taken.png"]


def test_three_pairs_give_the_command_that_fine_tunes_to_them(
    viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (PAIRS_NEEDED, LABEL_ENDINGS) == (finetune.LEAST_IMAGES, pairs.LABEL_ENDINGS)
    folder = tmp_path / "my pairs"
    widget = open_widget(viewer, "save_pair")
    widget.folder.value = folder
    image = viewer.add_image(draw_discs(3), name="a")
    widget.label_layer.value = viewer.add_labels((draw_discs(3) > 0).astype(np.uint8))
    commands = []
    for name in ("a", "b", "c"):
        image.name = name
        widget.button.native.click()
        commands.append(widget.command.value)
    assert commands == ["", "", finetune_command(folder)]
    assert (widget.said.value, count_pairs(folder)) == ("saved c.tif; 3 pairs", 3)
    given: list[Any] = []
    monkeypatch.setattr(finetune, "finetune", lambda found, output, wishes: given.extend((found, output)))
    monkeypatch.setattr(finetune, "log_outcome", lambda outcome, output: None)
    python, module, name, *arguments = shlex.split(commands[-1])
    assert (python, module, name) == ("python", "-m", finetune.__name__)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    finetune.main()
    assert given == [
        [pairs.Pair(folder / "images" / f"{name}.tif", folder / "labels" / f"{name}_label.tiff") for name in "abc"],
        tmp_path / "my pairs-weights",
    ]
