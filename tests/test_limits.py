"""How large an image may be."""

from __future__ import annotations

import pytest

from inference.errors import ImageError
from inference.limits import SLIDE_FROM_PX, Limits, needed_bytes


def test_pixels_are_limited() -> None:
    Limits(max_pixels=12).check_image((3, 4), 12)
    with pytest.raises(ImageError, match=r"has 4 x 4 pixels; allowed are 12 in all \(--max-megapixels\)"):
        Limits(max_pixels=12).check_image((4, 4), 16)


def test_memory_is_limited() -> None:
    needed = needed_bytes(10_000_000, 30_000_000)
    Limits(memory_bytes=needed).check_image((2500, 4000), 30_000_000)
    with pytest.raises(ImageError, match=r"needs about 1\.3 GB of memory, 0\.9 GB are available"):
        Limits(memory_bytes=900_000_000).check_image((2500, 4000), 30_000_000)


def test_ten_megapixels_fit_into_two_gigabytes() -> None:
    """The container promises it; the program and its threads have to fit beside the image."""
    assert needed_bytes(10_000_000, 10_000_000 * 8) < 1.5e9


@pytest.mark.parametrize("workers", [1, 8])
def test_the_estimate_grows_with_the_image(workers: int) -> None:
    sizes = [1, 10**6, SLIDE_FROM_PX], [SLIDE_FROM_PX + 1, 10**8, 10**9]
    for pixels in sizes:
        estimates = [needed_bytes(n, n, workers) for n in pixels]
        assert estimates == sorted(estimates)
    assert needed_bytes(10**8, 3 * 10**8) > needed_bytes(10**8, 10**8)


def test_a_slide_is_decoded_on_as_many_threads_as_memory_allows() -> None:
    pixels, samples = 10**8, 3 * 10**8
    for most in (1, 2, 8):
        assert Limits().slide_workers(pixels, samples, most) == most
        for spare in (0, 3):
            limits = Limits(memory_bytes=needed_bytes(pixels, samples, spare))
            assert limits.slide_workers(pixels, samples, most) == max(1, min(spare, most))
