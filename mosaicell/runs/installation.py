"""The installation itself: what is installed, for `--version --verbose`, and whether it works, for `--check`."""

from __future__ import annotations

import platform
from importlib.metadata import distributions
from pathlib import Path

import numpy as np

from mosaicell.answers.quality import read_judges
from mosaicell.errors import OptionError
from mosaicell.networks.manifest import check_weights, file_sha256, read_card, read_manifest
from mosaicell.networks.session import Session, available_providers, available_threads, resolve_device
from mosaicell.options import VERSION
from mosaicell.systems import SYSTEM_MODELS


def describe_installation(weights_path: Path) -> list[str]:
    """List versions of the program, the interpreter and every installed package, and the weights with their SHA-256.

    Raises
    ------
    OptionError
        When the weights have no manifest, or one is missing that a system asks for.
    """
    installed = {entry.metadata["Name"]: entry.version for entry in distributions()}
    packages = [f"  {name} {version}" for name, version in sorted(installed.items(), key=lambda item: item[0].lower())]
    asked_for = {name for names in SYSTEM_MODELS.values() for name in names}
    cards = [
        read_card(name, weights_path)
        for name, entry in sorted(read_manifest(weights_path).items())
        # a model that no system asks for is left out of the container, though not its card
        if name in asked_for or (weights_path / str(entry.get("file"))).is_file()
    ]
    hashes = {card.name: file_sha256(card.path) for card in cards}
    return [
        f"mosaicell {VERSION}",
        f"python {platform.python_version()} on {platform.platform()}",
        f"onnxruntime providers: {', '.join(available_providers())}",
        "packages:",
        *packages,
        f"weights in {weights_path}:",
        *(
            f"  {card.name} {hashes[card.name]}" + ("" if hashes[card.name] == card.sha256 else " NOT AS ITS CARD SAYS")
            for card in cards
        ),
    ]


def check_installation(
    system: str, weights_path: Path, device: str, threads: int, gpu_mem_limit_gb: float
) -> list[str]:
    """Load every model of a system and run one small tile through it; say so for each.

    Parameters
    ----------
    device
        As `--device` takes it. Unlike a run, "auto" does not go on with the CPU when a GPU is there and fails.
    threads
        CPU threads; 0 takes all that the process may use.

    Raises
    ------
    OptionError
        When a model is missing, changed, cannot be loaded or run on the device, or answers with NaN, or the judges of
        cells cannot be read.
    """
    used = resolve_device(device)
    read_judges(weights_path)
    lines = []
    for name in SYSTEM_MODELS[system]:
        check_weights((name,), weights_path)
        card = read_card(name, weights_path)
        session = Session(card.path, used, threads or available_threads(), gpu_mem_limit_gb)
        tile = np.zeros((1, 3, 2 * card.stride_px, 2 * card.stride_px), np.float32)
        try:
            outputs = session.run(tile)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise OptionError(f"{name} cannot run on {used}: {error}") from error
        if not all(np.isfinite(output).all() for output in outputs):
            raise OptionError(f"{name} answers with NaN or infinity on {used}")
        lines.append(f"{name}: works on {used}")
    return lines
