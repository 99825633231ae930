"""The list of what an image holds, as the Dockerfile makes it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_imports import ROOT

STATUS = """\
Package: libssl3
Status: install ok installed
Architecture: amd64
Source: openssl
Version: 3.0.17-1~deb12u2
Description: Secure Sockets Layer toolkit
 Version: of another line

Package: libstdc++6
Status: install ok installed
Architecture: amd64
Source: gcc-12 (12.2.0-14)
Version: 1:12.2.0-14+b1

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1.0
"""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Write what an image has: dpkg's file, packages of Python with licences in each form, and weights."""
    (tmp_path / "status").write_text(STATUS)
    packages = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    whole_text = "License: " + "all rights\n        " * 40
    for name, licence in {
        "Num_py-2.0": "License-Expression: BSD-3-Clause",
        "edt-3.0": "License: LGPL",
        "tqdm-4.0": f"{whole_text}\nClassifier: License :: OSI Approved :: MIT License",
        "bare-1.0": "Summary: without one",
    }.items():
        folder = packages / f"{name}.dist-info"
        folder.mkdir(parents=True)
        title, version = name.split("-")
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {title}\nVersion: {version}\n{licence}\n")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.onnx").write_bytes(b"weights")
    return tmp_path


def run(image: Path) -> subprocess.CompletedProcess[str]:
    places = ["--dpkg", image / "status", "--venv", image / "venv", "--weights", image / "weights"]
    # without the packages of an environment, as where an image is built
    command = [sys.executable, "-I", "-S", ROOT / "docker" / "bill.py", "--version", "1.2", *places]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def read(image: Path) -> dict[str, Any]:
    done = run(image)
    assert (done.returncode, done.stderr) == (0, "")
    return {component["name"]: component for component in json.loads(done.stdout)["components"]}


def test_packages_of_debian_are_named_so_that_scanners_find_them(image: Path) -> None:
    found = read(image)
    assert found["libssl3"]["version"] == "3.0.17-1~deb12u2"
    assert found["libssl3"]["purl"].startswith("pkg:deb/debian/libssl3@3.0.17-1~deb12u2?arch=amd64&distro=")
    assert found["libssl3"]["purl"].endswith("&upstream=openssl")
    assert found["libstdc++6"]["purl"].startswith("pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14%2Bb1?arch=amd64")
    assert found["libstdc++6"]["purl"].endswith("&upstream=gcc-12%4012.2.0-14")
    assert "gone" not in found


def test_packages_of_python_have_their_licences(image: Path) -> None:
    found = read(image)
    assert found["Num_py"]["purl"] == "pkg:pypi/num-py@2.0"
    assert found["Num_py"]["licenses"] == [{"expression": "BSD-3-Clause"}]
    assert found["edt"]["licenses"] == [{"license": {"name": "LGPL"}}]
    assert found["tqdm"]["licenses"] == [{"license": {"name": "MIT License"}}]
    assert "licenses" not in found["bare"]


def test_weights_have_their_hash_and_terms(image: Path) -> None:
    weights = read(image)["weights/a.onnx"]
    assert weights["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(b"weights").hexdigest()}]
    assert weights["licenses"] == [{"license": {"name": "LicenseRef-weights-for-research-use-only"}}]


def test_equal_contents_give_equal_bytes_and_every_entry_another_reference(image: Path) -> None:
    text = run(image).stdout
    assert run(image).stdout == text
    references = [component["bom-ref"] for component in json.loads(text)["components"]]
    assert len(set(references)) == len(references) == 9


def test_a_list_that_lacks_a_kind_of_contents_is_an_error(image: Path) -> None:
    (image / "weights" / "a.onnx").unlink()
    done = run(image)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "bill.py: there are no models\n")
