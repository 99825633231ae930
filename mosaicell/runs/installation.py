"""The installation itself: what is installed, for `--version --verbose`, and whether it works, for `--check`."""

from __future__ import annotations

import platform
from importlib.metadata import distributions
from pathlib import Path

import numpy as np

from mosaicell.answers.judges import read_judges
from mosaicell.errors import OptionError
from mosaicell.networks.manifest import Part, check_file, file_sha256, read_manifest, read_models
from mosaicell.networks.session import Session, available_providers, available_threads, resolve_device
from mosaicell.options import SYSTEM_NAMES, VERSION
from mosaicell.systems import JUDGED_WAY, load_system


def describe_installation(weights_path: Path) -> list[str]:
    """List versions of the program, the interpreter and every installed package, and the weights with their SHA-256.

    Raises
    ------
    OptionError
        When the weights have no manifest, or one is missing that a system asks for.
    """
    installed = {entry.metadata["Name"]: entry.version for entry in distributions()}
    packages = [f"  {name} {version}" for name, version in sorted(installed.items(), key=lambda item: item[0].lower())]
    asked_for = {name for system in SYSTEM_NAMES for name in load_system(system).models}
    listed = [
        name
        for name, entry in sorted(read_manifest(weights_path).items())
        # a model that no system asks for is left out of the container, though not its card
        if name in asked_for or (isinstance(entry, dict) and (weights_path / str(entry.get("file"))).is_file())
    ]
    cards = read_models(listed, weights_path).values()
    hashes = {card.name: file_sha256(card.path) for card in cards}
    return [
        f"mosaicell {VERSION}",
        f"python {platform.python_version()} on {platform.platform()}",
        f"onnxruntime providers: {', '.join(available_providers())}",
        "packages:",
        *packages,
        f"weights in {weights_path.resolve()}:",
        *(
            f"  {card.name} {hashes[card.name]}" + ("" if hashes[card.name] == card.sha256 else " NOT AS ITS CARD SAYS")
            for card in cards
        ),
    ]


def check_installation(
    system_name: str, weights_path: Path, device: str, threads: int, gpu_mem_limit_gb: float
) -> list[str]:
    """Load every model of a system and run one small tile through it, but for parts of others; say so for each.

    Parameters
    ----------
    system_name
        As `--system` takes it.
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
    system = load_system(system_name)
    if JUDGED_WAY in system.ways:
        read_judges(weights_path, system_name, system.judged)
    lines = []
    for name, card in read_models(system.models, weights_path).items():
        check_file(card)
        session = Session(card.path, used, threads or available_threads(), gpu_mem_limit_gb)
        tile = np.zeros((1, 3, card.least_input_px, card.least_input_px), np.float32)
        try:
            # what a part is asked about comes from another model
            outputs = () if isinstance(card, Part) else session.run(tile)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise OptionError(f"{name} cannot run on {used}: {error}") from error
        if not all(np.isfinite(output).all() for output in outputs):
            raise OptionError(f"{name} answers with NaN or infinity on {used}")
        lines.append(f"{name}: works on {used}")
    return lines
