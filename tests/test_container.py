"""The image itself, with a real engine: `make test-container` builds it and runs these."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from mosaicell.networks.manifest import read_manifest
from mosaicell.options import SYSTEM_NAMES, VERSION, WEIGHTS_FOLDER
from mosaicell.reading.images import read_image
from mosaicell.systems import load_system
from mosaicell.training.synthesis import draw_scene
from mosaicell.writing.masks import read_labels
from tests.test_imports import ROOT, pinned
from tests.toys import write_discs, write_weights

DOCKER = os.environ.get("DOCKER", "docker")
IMAGE = os.environ.get("MOSAICELL_IMAGE", "mosaicell:cpu")
#: what only evaluation, training and tests import
LEFT_OUT = {
    "scipy",
    "scikit-image",
    "imageio",
    "jinja2",
    "lazy-loader",
    "markupsafe",
    "networkx",
    "nvidia-ml-py",
    "pillow",
}
#: models of all systems
ASKED_FOR = sorted({name for system in SYSTEM_NAMES for name in load_system(system).models})
#: of the code and, by name, of the weights
LICENCES = "Apache-2.0 AND LicenseRef-weights-for-research-use-only"
#: largest size in MB that the README promises
LIMIT_MB = 700


def docker(*arguments: object, **changes: object) -> subprocess.CompletedProcess[str]:
    options = {"capture_output": True, "text": True, "timeout": 600, "check": True} | changes
    return subprocess.run([DOCKER, *map(str, arguments)], **options)  # type: ignore[call-overload]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Make a folder of inputs and one of outputs that any user may write."""
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    outputs.mkdir()
    outputs.chmod(0o777)
    return inputs, outputs


def mounts(folders: tuple[Path, Path]) -> list[str]:
    return ["-v", f"{folders[0]}:/workspace/inputs/", "-v", f"{folders[1]}:/workspace/outputs/"]


def draw(path: Path, shape_px: tuple[int, int]) -> None:
    """Write drawn nuclei, one scene of at most 1 MP repeated."""
    scene, _ = draw_scene("fluorescence_nuclei", (800, 1000), np.random.default_rng(1), diameter_px=30)
    repeats = [-(-size // side) for size, side in zip(shape_px, scene.shape, strict=False)]
    assert cv2.imwrite(str(path), np.tile(scene, (*repeats, 1))[: shape_px[0], : shape_px[1]])


def kinds(requirements: str, lock: str) -> tuple[dict[str, str], dict[str, str]]:
    lines = [line for line in (ROOT / lock).read_text().splitlines() if not line.startswith(("#", " "))]
    locked = dict(line.removesuffix(" \\").split("==") for line in lines)
    wanted = {name: version for name, version in pinned(ROOT / requirements).items() if name not in LEFT_OUT}
    return wanted, locked


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_the_lock_has_the_pins_of_the_requirements(kind: str) -> None:
    requirements = {"cpu": "requirements-cpu.txt", "gpu": "requirements.txt"}[kind]
    wanted, locked = kinds(requirements, f"docker/requirements-{kind}.lock")
    assert locked == wanted, "run make lock"


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_every_locked_package_has_a_hash(kind: str) -> None:
    text = (ROOT / f"docker/requirements-{kind}.lock").read_text()
    packages = re.split(r"^(?=\S+==)", text, flags=re.MULTILINE)[1:]
    assert len(packages) > 10
    assert all("--hash=sha256:" in package for package in packages)


def test_the_image_is_labelled_with_the_version_and_the_terms_of_code_and_weights() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert f"ARG VERSION={VERSION}\n" in text
    assert f'org.opencontainers.image.licenses="{LICENCES}"' in text


def test_the_base_is_pinned_and_brought_up_to_date_and_a_batch_has_no_health() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE_IMAGE=debian:bookworm-\d{8}-slim@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    # everything but `python` itself comes from it, so that nothing misses the updates
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE).count("${BASE_IMAGE}") == 1
    assert "RUN sh /root/upgrade.sh" in text
    assert "sh /root/upgrade.sh" in (ROOT / "docker" / "base-image.sh").read_text()
    assert "HEALTHCHECK" not in text


def test_only_weights_that_a_system_asks_for_go_into_the_image() -> None:
    left_out = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {path.name for path in WEIGHTS_FOLDER.glob("*.onnx") if f"weights/{path.name}" not in left_out}
    cards = read_manifest(WEIGHTS_FOLDER)
    assert kept == {cards[name]["file"] for name in ASKED_FOR}


@pytest.mark.skipif(shutil.which("dash") is None, reason="no dash, the strictest of the common shells")
@pytest.mark.parametrize("script", sorted((ROOT / "docker").glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_posix(script: Path) -> None:
    assert script.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["dash", "-n", str(script)], check=True)


def test_the_entry_passes_options_and_exit_status(tmp_path: Path) -> None:
    shutil.copy(ROOT / "docker" / "predict.sh", tmp_path)
    (tmp_path / "predict.py").write_text("import json, sys\nprint(json.dumps(sys.argv[1:]))\nsys.exit(7)\n")
    command = ["sh", str(tmp_path / "predict.sh"), "--overlay"]
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "MOSAICELL_INPUT": "/two words"}
    done = subprocess.run(
        command, env={**environment, "MOSAICELL_OPTIONS": "--threads 1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 7
    expected = ["-i", "/two words", "-o", "/workspace/outputs/", "--names", "challenge", "--blood", "auto", "--report",
                "--threads", "1", "--overlay"]  # fmt: skip
    assert json.loads(done.stdout) == expected


def test_the_command_of_the_image_is_the_program(tmp_path: Path) -> None:
    text = (ROOT / "docker" / "mosaicell").read_text()
    assert "!docker/mosaicell\n" in (ROOT / ".dockerignore").read_text()
    assert text.startswith("#!/opt/venv/bin/python\n")
    (tmp_path / "mosaicell").write_text(text.replace("/workspace", str(ROOT)))
    command = [sys.executable, str(tmp_path / "mosaicell"), "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"mosaicell {VERSION}\n")


def test_the_entry_works_from_any_folder(tmp_path: Path) -> None:
    """The image starts it by its absolute path; folders that are relative are those of whoever starts it."""
    assert 'CMD ["sh", "/workspace/predict.sh"]\n' in (ROOT / "Dockerfile").read_text()
    weights = write_weights(tmp_path / "weights")
    program = tmp_path / "program folder"
    program.mkdir()
    shutil.copy(ROOT / "docker" / "predict.sh", program)
    for name in ("predict.py", "mosaicell", "postprocess"):
        (program / name).symlink_to(ROOT / name)
    (tmp_path / "in").mkdir()
    write_discs(tmp_path / "in" / "plate1.wellA1.png", 2)
    # what a shell would put in the place of the pattern
    (tmp_path / "x1x").touch()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "MOSAICELL_INPUT": "in",
        "MOSAICELL_OUTPUT": "out",
        "MOSAICELL_OPTIONS": f"--weights {weights} --device cpu --threads 1 --include *1*",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        ["sh", str(program / "predict.sh")], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"plate1_label.tiff", "run.json"}


@pytest.mark.docker
def test_the_contract_holds() -> None:
    done = subprocess.run(["sh", str(ROOT / "docker/smoke.sh"), IMAGE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^ok ", done.stdout, re.MULTILINE)) > 10


@pytest.mark.docker
def test_an_image_that_breaks_the_contract_is_found(tmp_path: Path) -> None:
    """The smoke test fails on an image that writes its masks in the wrong type."""
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN sed -i s/np.uint16/np.int64/ mosaicell/writing/masks.py"
                                         " && rm -r mosaicell/writing/__pycache__\n")  # fmt: skip
    docker("build", "--tag", "mosaicell-broken", tmp_path)
    try:
        command = ["sh", str(ROOT / "docker/smoke.sh"), "mosaicell-broken"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        docker("image", "rm", "mosaicell-broken")
    assert done.returncode == 1
    assert "FAILED" in done.stdout


@pytest.mark.docker
def test_the_cpu_image_is_as_small_as_the_readme_says() -> None:
    (described,) = json.loads(docker("image", "inspect", IMAGE).stdout)
    assert described["Size"] / 1e6 <= LIMIT_MB
    assert described["Config"]["Labels"]["org.opencontainers.image.version"] == VERSION
    assert described["Config"]["Labels"]["org.opencontainers.image.licenses"] == LICENCES
    assert described["Config"]["Entrypoint"] is None
    assert not described["Config"].get("Healthcheck")


@pytest.mark.docker
def test_engines_of_workflows_find_what_they_need() -> None:
    # a shell, the command on the PATH from any folder, and ps, by which they measure what a task takes
    script = "cd /tmp && mosaicell --version && ps -o pid=,comm= -p $$ && cd /"
    done = docker("run", "--rm", "--network", "none", IMAGE, "bash", "-c", script)
    assert done.stdout.split() == ["mosaicell", VERSION, "1", "bash"]


@pytest.mark.docker
def test_the_image_lists_its_packages_and_weights() -> None:
    listed = docker("run", "--rm", "--network", "none", IMAGE, "python", "predict.py", "--version", "--verbose").stdout
    _, locked = kinds("requirements-cpu.txt", "docker/requirements-cpu.lock")
    assert {f"  {name} {version}" for name, version in locked.items()} <= set(listed.lower().splitlines())
    cards = read_manifest(WEIGHTS_FOLDER)
    weights = "".join(f"  {name} {cards[name]['sha256']}\n" for name in ASKED_FOR)
    assert listed.endswith(f"weights in /workspace/weights:\n{weights}")


@pytest.mark.docker
def test_the_image_has_all_updates_of_debians_security_suite() -> None:
    update = "apt-get -qq -o APT::Update::Error-Mode=any update"
    done = docker("run", "--rm", IMAGE, "sh", "-c", f"{update} && apt-cache policy && apt-get -s upgrade", check=False)
    if done.returncode:
        pytest.skip(f"no mirror is reached: {done.stderr.strip().splitlines()[-1:]}")
    assert "n=bookworm-security" in done.stdout
    # a line for each package that the suites have in a later version: Inst libssl3 [3.0.14-1] (3.0.15-1 ...)
    assert [line for line in done.stdout.splitlines() if line.startswith("Inst")] == []


@pytest.mark.docker
def test_the_list_of_contents_is_what_is_in_the_image() -> None:
    def shell(command: str) -> set[str]:
        return set(docker("run", "--rm", "--network", "none", IMAGE, "sh", "-c", command).stdout.splitlines())

    bill = json.loads(docker("run", "--rm", "--network", "none", IMAGE, "cat", "/workspace/bill.cdx.json").stdout)
    assert (bill["bomFormat"], bill["metadata"]["component"]["version"]) == ("CycloneDX", VERSION)
    listed: dict[str, set[str]] = {"deb": set(), "pypi": set(), "": set()}
    for component in bill["components"]:
        if component["type"] in ("library", "machine-learning-model"):
            kind = component.get("purl", "pkg:/").removeprefix("pkg:").split("/")[0]
            listed[kind].add(
                f"{component['name']} {component['hashes'][0]['content'] if not kind else component['version']}"
            )
    assert listed["deb"] == shell("dpkg-query -W -f '${Package} ${Version}\\n'")
    code = "from importlib.metadata import distributions as d; [print(p.metadata['Name'], p.version) for p in d()]"
    assert listed["pypi"] == shell(f'python -c "{code}"')
    sums = shell("sha256sum weights/*.onnx weights/quality.json")
    assert listed[""] == {" ".join(reversed(line.split())) for line in sums}


@pytest.mark.docker
def test_ten_megapixels_in_two_gigabytes(folders: tuple[Path, Path]) -> None:
    draw(folders[0] / "large.png", (2500, 4000))
    docker("run", "--rm", "-m", "2g", "--memory-swap", "2g", *mounts(folders), IMAGE)
    labels = read_labels(folders[1] / "large_label.tiff")
    assert labels.shape == (2500, 4000)
    assert labels.max() > 1000


@pytest.mark.docker
def test_the_container_gives_the_same_masks_as_the_checkout(folders: tuple[Path, Path], tmp_path: Path) -> None:
    draw(folders[0] / "nuclei.png", (480, 640))
    docker("run", "--rm", *mounts(folders), IMAGE)
    command = [sys.executable, "predict.py", "-i", str(folders[0]), "-o", str(tmp_path / "here")]
    subprocess.run([*command, "--device", "cpu"], cwd=ROOT, check=True, capture_output=True)
    ours, theirs = (read_labels(folder / "nuclei_label.tiff") for folder in (tmp_path / "here", folders[1]))
    assert np.array_equal(ours, theirs)
    assert ours.shape == read_image(folders[0] / "nuclei.png").pixels.shape[:2]


@pytest.mark.docker
def test_stop_ends_a_run_at_once_and_leaves_no_half_mask(folders: tuple[Path, Path]) -> None:
    draw(folders[0] / "a_small.png", (480, 640))
    draw(folders[0] / "b_large.png", (6000, 8000))
    name = f"mosaicell-stop-{os.getpid()}"
    docker("run", "--detach", "--name", name, *mounts(folders), IMAGE)
    try:
        while not (folders[1] / "a_small_label.tiff").exists():
            running = docker("inspect", "--format", "{{.State.Running}}", name).stdout.strip()
            assert running == "true", docker("logs", name).stderr
            time.sleep(0.05)
        time.sleep(1)
        docker("stop", "--time", "60", name)
        (state,) = json.loads(docker("inspect", name).stdout)
    finally:
        docker("rm", "--force", name)
    # 128 + 15: it ended by the signal; one that waited for the end of its work would have exited with 0
    assert state["State"]["ExitCode"] == 143
    assert {path.name for path in folders[1].iterdir()} == {"a_small_label.tiff", "run.json"}
