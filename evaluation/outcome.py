"""What a run came to: whether its mask is what the challenge asks for, and why it counts as failed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mosaicell.evaluation.contestant import Usage
from mosaicell.evaluation.timed_image import MB, VALID
from mosaicell.reading.images import SIGNATURES, mask_name, read_labels

MISSING = "missing"
#: the challenge's limit of GPU memory
GPU_LIMIT_BYTES = 10_000_000_000
#: exit code of what was killed, by the kernel for too much RAM among others
KILLED = 137
TIFF_SIGNATURES = tuple(signature for signature, form in SIGNATURES.items() if form == "TIFF")
#: endings of files that may have been meant as the mask
SUFFIXES = (".tif", ".tiff", ".png")
#: such files that a sentence names at most
NAMED = 3
#: characters of a reason, and bytes of a log in which it is looked for
MAX_REASON, LOG_END_BYTES = 240, 1 << 16


def check_mask(path: Path, shape: tuple[int, int] | None) -> str:
    """Say whether a mask is valid.

    Parameters
    ----------
    path : Path
        Where the mask must be.
    shape : (int, int) or None
        Height and width of the image; None leaves the size unchecked.

    Returns
    -------
    str
        "valid": a TIFF with one plane of integers, the image's size, ids 1..n without gaps, or none at all.
        "missing", or what is wrong.
    """
    if not path.is_file():
        return MISSING
    try:
        with path.open("rb") as file:
            if not file.read(4).startswith(TIFF_SIGNATURES):
                return "is no TIFF"
        labels = read_labels(path)
    except (OSError, ValueError) as error:
        return str(error)
    if shape is not None and labels.shape != shape:
        return f"is {labels.shape[0]} x {labels.shape[1]} pixels, the image {shape[0]} x {shape[1]}"
    return _check_ids(labels)


def _check_ids(labels: np.ndarray) -> str:
    highest = int(labels.max(initial=0))
    if highest > labels.size:
        return f"has the id {highest} but only {labels.size} pixels; ids are 1..n without gaps"
    used = np.zeros(highest + 1, dtype=bool)
    used[0] = True
    # row by row: an index array of a whole slide would take gigabytes
    for row in labels:
        used[row] = True
    unused = np.flatnonzero(~used)
    if unused.size:
        return f"has ids up to {highest} but not {unused[0]} ({unused.size} unused); ids are 1..n without gaps"
    return VALID


def find_failures(
    usage: Usage, mask: str, image: Path, outputs: Path, timeout_s: float, memory_limit_bytes: int, said: str = ""
) -> list[str]:
    """List why a run counts as failed.

    Parameters
    ----------
    usage : Usage
    mask : str
        From `check_mask`.
    image : Path
        The image, whose name decides that of the mask.
    outputs : Path
        Folder into which the run wrote.
    timeout_s : float
        Seconds after which a run is stopped.
    memory_limit_bytes : int
        RAM allowed.
    said : str
        What the run wrote to its log, of which the reason for an exit code is told.

    Returns
    -------
    list of str
        Parts of a sentence; empty when the run is good. A long running time is no failure.
    """
    failures = []
    if usage.timed_out:
        failures.append(f"stopped after {timeout_s:g} s")
    elif usage.exit_code == KILLED:
        failures.append(f"exit code {KILLED}: killed, as for too much RAM")
    elif usage.exit_code:
        reason = find_reason(said)
        failures.append(f"exit code {usage.exit_code}{f' ({reason})' if reason else ''}")
    if mask == MISSING:
        failures.append(f"no {mask_name(image)}{_name_others(outputs)}")
    elif mask != VALID:
        failures.append(f"the mask {mask}")
    for what, peak_bytes, limit_bytes in (
        ("RAM", usage.peak_ram_bytes, memory_limit_bytes),
        ("GPU memory", usage.peak_gpu_bytes, GPU_LIMIT_BYTES),
    ):
        if peak_bytes is not None and peak_bytes > limit_bytes:
            failures.append(f"{peak_bytes / MB:,.0f} MB of {what}, allowed are {limit_bytes / MB:,.0f}")
    return failures


def find_reason(said: str) -> str:
    """Return the line of a log that says why a program, or the engine that was to start it, failed; "" without any.

    Notes
    -----
    The last line that speaks of an error: Python ends with it, engines add a hint at their help.
    """
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "")
    return reason if len(reason) <= MAX_REASON else f"{reason[: MAX_REASON - 1]}…"


def _name_others(outputs: Path) -> str:
    """Name the files that may have been meant as the mask."""
    others = sorted(path.name for path in outputs.iterdir() if path.is_file() and path.suffix.lower() in SUFFIXES)
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    return f", but {', '.join(others[:NAMED])}{more}" if others else ""
