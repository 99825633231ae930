"""Images to time a program with: sizes as asked for, repeatable, readable, and named so that masks find them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from benchmarks import images
from benchmarks.images import KINDS, MEGAPIXELS, SLIDE_KIND, choose_shape, draw_image, main
from mosaicell.reading.images import SUFFIXES, mask_name, read_image
from mosaicell.training.synthesis import MODALITY_OF_SCENE


def draw(folder: Path, *arguments: object) -> dict[str, np.ndarray]:
    assert main([str(folder), *map(str, arguments)]) == 0
    return {path.name: read_image(path).pixels for path in folder.iterdir()}


@pytest.mark.parametrize("megapixels", [0.01, 0.5, 1.0, 2.0, 4.0, 9.0, 25.0, 88.3, 100.0])
def test_an_image_has_the_pixels_asked_for_and_is_no_square(megapixels: float) -> None:
    height, width = choose_shape(megapixels)
    assert height * width == pytest.approx(megapixels * 1e6, rel=0.005)
    assert height < width


def test_the_smallest_size_is_640_by_480_and_whole_squares_are_exact() -> None:
    assert choose_shape(0.3) == (480, 640)
    assert [np.prod(choose_shape(size)) for size in MEGAPIXELS[1:]] == [1e6, 4e6, 9e6, 25e6]


def test_images_are_drawn_alike_whatever_else_is_drawn(tmp_path: Path) -> None:
    first = draw(tmp_path / "first", "--megapixels", 0.02, 0.03)
    again = draw(tmp_path / "again", "--megapixels", 0.02)
    other = draw(tmp_path / "other", "--megapixels", 0.02, "--seed", 1)
    assert len(first) == 2
    ((name, pixels),) = again.items()
    np.testing.assert_array_equal(pixels, first[name])
    assert not np.array_equal(pixels, other[name])


def test_every_size_has_its_modality_and_its_mask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = [0.02, 0.03, 0.04, 0.05, 0.06, 0.02, 0.070]
    drawn = draw(tmp_path, "--megapixels", *sizes)
    expected = zip(dict.fromkeys(sizes), (*KINDS, KINDS[0]), strict=True)
    names = {f"drawn_{str(size).replace('.', 'p')}MP_{kind}" for size, kind in expected}
    assert {Path(name).stem for name in drawn} == names
    assert {mask_name(name) for name in drawn} == {f"{stem}_label.tiff" for stem in names}
    assert {Path(name).suffix for name in drawn} <= set(SUFFIXES)
    assert len({MODALITY_OF_SCENE[kind] for kind in (*KINDS, SLIDE_KIND)}) == 4
    assert len(capsys.readouterr().out.splitlines()) == 6


@pytest.mark.parametrize("kind", [*KINDS, SLIDE_KIND])
def test_a_large_image_is_a_compressed_tiff_of_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    small = draw_image(tmp_path, kind, 0.02, 3)
    monkeypatch.setattr(images, "TIFF_MEGAPIXELS", 0.02)
    large = draw_image(tmp_path, kind, 0.02, 3)
    assert (small.suffix, large.suffix) == (".png", ".tif")
    np.testing.assert_array_equal(read_image(small).pixels, read_image(large).pixels)
    with tifffile.TiffFile(large) as file:
        assert file.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
    assert read_image(small).pixels.shape[:2] == choose_shape(0.02)


def test_a_slide_is_fluorescent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "SLIDE_MEGAPIXELS", 0.03)
    assert set(draw(tmp_path, "--megapixels", 0.02, 0.03)) == {
        f"drawn_0p02MP_{KINDS[0]}.png",
        f"drawn_0p03MP_{SLIDE_KIND}.png",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--megapixels"], "expected at least one argument"),
        (["--megapixels", "0"], "between 0.01 and 100 megapixels"),
        (["--megapixels", "101"], "between 0.01 and 100 megapixels"),
        (["--megapixels", "nan"], "between 0.01 and 100 megapixels"),
        (["--megapixels", "large"], "between 0.01 and 100 megapixels"),
        (["--seed", "-1"], "the seed is 0 or more"),
        (["--seed", "x"], "invalid int value"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "out"), *arguments])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "file"), "--megapixels", "0.02"])
    assert "the images cannot be written" in capsys.readouterr().err
