"""Which part may import which: the arrows between folders, heavy packages at the edges, pins for all."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NUMPY_STACK = ("numpy", "scipy", "skimage", "cv2", "edt", "cc3d")
#: folders that stand beside the package and belong to it, through links in it
LINKED = ("evaluation", "postprocess", "training")
#: the package without them
PROGRAM = tuple(
    f"mosaicell.{path.stem}"
    for path in sorted((ROOT / "mosaicell").iterdir())
    if path.stem not in (*LINKED, "__init__", "__pycache__", "napari_plugin")
)
#: that nothing else needs
PLUGIN = ROOT / "mosaicell" / "napari_plugin"
# part: the modules of this project that it may import
ARROWS = {
    "predict": PROGRAM,
    "mosaicell": (*PROGRAM, "mosaicell.postprocess"),
    "postprocess": ("mosaicell.postprocess",),
    "evaluation": (
        "mosaicell.evaluation",
        "mosaicell.reading.forms",
        "mosaicell.reading.images",
        "mosaicell.writing",
    ),
    "training": ("mosaicell",),
    "examples": ("mosaicell.training.synthesis",),
    "benchmarks": (
        "benchmarks",
        *PROGRAM,
        "mosaicell.postprocess",
        "mosaicell.evaluation",
        "mosaicell.training.synthesis",
    ),
    "docker": (),
}
OWN = (*ARROWS, "tests")
#: packages of the program that are extras, by the requirements that pin them
EXTRAS = {
    "distributed": "requirements-consumers.txt",
    "magicgui": "requirements-consumers.txt",
    "napari": "requirements-consumers.txt",
    "zarr": "requirements-dev.txt",
}


def imported(source: str, *, at_start_only: bool = False) -> set[str]:
    """Return the dotted names that a source imports; `from a import b` gives a.b, module or not.

    Parameters
    ----------
    source : str
        Python source with absolute imports.
    at_start_only : bool
        Leave out what is imported inside functions or for type checking, which runs later or never.
    """
    names = set()
    for node in _statements(ast.parse(source), at_start_only):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _statements(tree: ast.AST, at_start_only: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        )
        if not (later and at_start_only):
            yield node
            yield from _statements(node, at_start_only)


def within(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def sources(part: str) -> list[Path]:
    """Return the Python files of a part; links are not followed."""
    return [path for path in (ROOT / f"{part}.py", *sorted((ROOT / part).rglob("*.py"))) if path.is_file()]


def all_sources() -> list[Path]:
    return [path for part in ARROWS for path in sources(part)]


def loaded_with(module: str) -> set[str]:
    """Return the names that importing a module loads, directly or through other modules of this project."""
    loaded: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in loaded:
            continue
        loaded.add(name)
        path = ROOT
        for part in name.split(".") if within(name, OWN) else ():
            path /= part
            for file in (path.with_suffix(".py"), path / "__init__.py"):
                if file.is_file():
                    waiting += imported(file.read_text(), at_start_only=True)
    return loaded


def normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def pinned(requirements: Path) -> dict[str, str]:
    """Return the version of every distribution in a requirements file and in those it includes."""
    versions: dict[str, str] = {}
    for line in requirements.read_text().splitlines():
        if line.startswith("-r "):
            versions |= pinned(requirements.parent / line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            name, version = line.split("==")
            versions[normalised(name.partition("[")[0])] = version
    return versions


def relative_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_part_with_python_files_has_its_arrows() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    files = {path.stem for path in ROOT.glob("*.py")}
    assert folders | files <= set(OWN)


@pytest.mark.parametrize("path", all_sources(), ids=relative_name)
def test_own_imports_follow_the_arrows(path: Path) -> None:
    allowed = ARROWS[path.relative_to(ROOT).parts[0].removesuffix(".py")]
    if path.is_relative_to(PLUGIN):
        allowed = (*allowed, "mosaicell.napari_plugin")
    own = {name for name in imported(path.read_text()) if within(name, OWN)}
    assert {name for name in own if not within(name, allowed)} == set()


@pytest.mark.parametrize("path", sources("tests"), ids=relative_name)
def test_the_package_has_one_name(path: Path) -> None:
    """A module imported by two names would be there twice."""
    assert {name for name in imported(path.read_text()) if within(name, LINKED)} == set()


@pytest.mark.parametrize("path", all_sources(), ids=relative_name)
def test_heavy_packages_stay_at_their_edge(path: Path) -> None:
    names = imported(path.read_text())
    if not path.is_relative_to(ROOT / "training"):
        assert not any(within(name, ("torch", "onnx")) for name in names)
    if path != ROOT / "mosaicell" / "networks" / "session.py":
        assert not any(within(name, ("onnxruntime",)) for name in names)
    if not path.is_relative_to(PLUGIN):
        assert not any(within(name, ("napari", "magicgui", "mosaicell.napari_plugin")) for name in names)
    if path != ROOT / "evaluation" / "markup.py":
        assert not any(within(name, ("jinja2",)) for name in names)


@pytest.mark.parametrize("path", sources("postprocess"), ids=relative_name)
def test_decoders_need_only_the_numpy_stack(path: Path) -> None:
    allowed = (*NUMPY_STACK, *ARROWS["postprocess"], *sys.stdlib_module_names)
    assert {name for name in imported(path.read_text()) if not within(name, allowed)} == set()


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        # the image holds no scipy either
        pytest.param(
            "mosaicell.runs.run",
            ("skimage", "scipy", "torch", "matplotlib", "zarr", "jinja2", "pynvml"),
            id="the program starts fast",
        ),
        pytest.param("mosaicell.decoders.awf", ("skimage", "scipy", "torch"), id="decoders start fast, boxes"),
        pytest.param("mosaicell.decoders.omnipose", ("skimage", "scipy", "torch"), id="decoders start fast, flows"),
        pytest.param(
            "mosaicell.training.synthesis", ("torch", "onnx", "onnxruntime"), id="scenes are drawn without torch"
        ),
        pytest.param("mosaicell.evaluation.score", ("torch", "onnxruntime", "jinja2"), id="scores need no network"),
        pytest.param("mosaicell.evaluation.timing", ("jinja2", "pynvml"), id="times are measured without templates"),
        pytest.param("mosaicell.evaluation.report", ("torch", "onnxruntime"), id="reports need no network"),
        pytest.param(
            "mosaicell.napari_plugin.masks", ("napari", "magicgui", "onnxruntime"), id="masks open without networks"
        ),
        pytest.param("mosaicell.cluster", ("distributed", "numpy"), id="clusters are loaded when they are asked for"),
    ],
)
def test_importing_a_module_does_not_load(module: str, unwanted: tuple[str, ...]) -> None:
    loaded = loaded_with(module)
    assert len(loaded) > 5, f"{module} was not found"
    assert {name for name in loaded if within(name, unwanted)} == set()


@pytest.mark.parametrize(
    ("parts", "requirements"),
    [
        (("predict", "mosaicell", "postprocess", "evaluation", "examples"), "requirements-cpu.txt"),
        (("training", "benchmarks"), "requirements-train.txt"),
        (("tests",), "requirements-dev.txt"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_imported_package_is_pinned(parts: tuple[str, ...], requirements: str) -> None:
    packages = {
        name.partition(".")[0] for part in parts for path in sources(part) for name in imported(path.read_text())
    } - {*OWN, *sys.stdlib_module_names}
    distributions = packages_distributions()
    assert packages, "no imports were found"
    pins = pinned(ROOT / requirements)
    for package in packages & EXTRAS.keys():
        pins |= pinned(ROOT / EXTRAS[package])
    # an extra need not be installed
    assert {
        package
        for package in packages
        if not any(normalised(name) in pins for name in distributions.get(package, [package]))
    } == set()


def test_both_runtimes_pin_the_same_version_of_onnxruntime() -> None:
    cpu, gpu = pinned(ROOT / "requirements-cpu.txt"), pinned(ROOT / "requirements.txt")
    assert cpu.pop("onnxruntime") == gpu.pop("onnxruntime-gpu")
    assert cpu.items() <= gpu.items()


def test_imports_are_found_wherever_they_stand() -> None:
    source = """
import os.path as p, numpy
from mosaicell.training import targets
if TYPE_CHECKING:
    import torch
try:
    import cv2
except ImportError:
    pass
def load():
    from skimage.measure import label
class Late:
    import scipy
"""
    at_start = {"os.path", "numpy", "mosaicell.training.targets", "cv2", "scipy"}
    assert imported(source, at_start_only=True) == at_start
    assert imported(source) == at_start | {"torch", "skimage.measure.label"}
    assert within("training.targets", ("training",))
    assert not within("training_set", ("training",))
