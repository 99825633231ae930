"""List what an image holds, as CycloneDX 1.5 in JSON: Debian's packages, Python's, and the weights.

    python3 bill.py --version VERSION --dpkg STATUS --venv FOLDER --weights FOLDER > bill.cdx.json

The Dockerfile runs it while it builds. It needs the standard library alone, and equal contents give equal bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

#: licences of packages are names; what is longer is the whole text of one
LONGEST_NAME = 100
WEIGHTS_TERMS = "LicenseRef-weights-for-research-use-only"


def read_debian(status: str, release: str) -> Iterable[dict[str, Any]]:
    """Describe the installed packages of dpkg's status file, for scanners also by their source packages."""
    for stanza in status.split("\n\n"):
        entry = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and not line.startswith(" "))
        if entry.get("Status") != "install ok installed":
            continue
        name, version = entry["Package"], entry["Version"]
        # "Source: glibc" or, where the versions differ, "Source: gcc-12 (12.2.0-14)"
        source, _, other = entry.get("Source", name).partition(" ")
        upstream = f"{source}@{other.strip('()')}" if other else source
        qualifiers = {"arch": entry["Architecture"], "distro": release, "upstream": upstream}
        purl = f"pkg:deb/debian/{quote(name, safe='')}@{quote(version, safe='')}?" + "&".join(
            f"{key}={quote(value, safe='')}" for key, value in qualifiers.items()
        )
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def read_python(venv: Path) -> Iterable[dict[str, Any]]:
    """Describe the packages of a virtual environment with their licences, as far as they are named."""
    for package in distributions(path=[str(path) for path in venv.glob("lib/python3*/site-packages")]):
        name, version = package.metadata["Name"], package.version
        purl = f"pkg:pypi/{quote(name.lower().replace('_', '-'), safe='')}@{quote(version, safe='')}"
        component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        yield component | ({"licenses": licences} if (licences := _licences(package)) else {})


def _licences(package: Distribution) -> list[dict[str, Any]]:
    metadata = package.metadata
    if "License-Expression" in metadata:
        return [{"expression": metadata["License-Expression"]}]
    name = metadata["License"].strip() if "License" in metadata else ""
    names = [name] if 0 < len(name) <= LONGEST_NAME and "\n" not in name else []
    kinds = (entry.split(" :: ") for entry in metadata.get_all("Classifier") or ())
    names = names or [kind[-1] for kind in kinds if kind[0] == "License"]
    return [{"license": {"name": name}} for name in names]


def read_weights(folder: Path) -> Iterable[dict[str, Any]]:
    """Describe the models and judges that are there, with their SHA-256."""
    for path in (*folder.glob("*.onnx"), *folder.glob("quality.json")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"weights/{path.name}",
            "name": f"weights/{path.name}",
            "version": digest[:12],
            "hashes": [{"alg": "SHA-256", "content": digest}],
            "licenses": [{"license": {"name": WEIGHTS_TERMS}}],
        }


def main() -> int:
    """Print the list; 1 when it would lack a kind of contents."""
    parser = argparse.ArgumentParser(prog="bill.py", description="List what an image holds, as CycloneDX.")
    parser.add_argument("--version", required=True, help="of the program")
    parser.add_argument("--dpkg", type=Path, required=True, metavar="FILE", help="dpkg's status file")
    parser.add_argument("--venv", type=Path, required=True, metavar="DIR", help="Python's virtual environment")
    parser.add_argument("--weights", type=Path, required=True, metavar="DIR", help="folder of the models")
    options = parser.parse_args()
    system = platform.freedesktop_os_release()
    release = f"{system['ID']}-{system['VERSION_ID']}"
    groups = {
        "packages of Debian": read_debian(options.dpkg.read_text(encoding="utf-8"), release),
        "packages of Python": read_python(options.venv),
        "models": read_weights(options.weights),
    }
    components = [
        {"type": "operating-system", "bom-ref": release, "name": system["ID"], "version": system["VERSION_ID"]},
        {"type": "platform", "bom-ref": "cpython", "name": "CPython", "version": platform.python_version()},
    ]
    for kind, found in groups.items():
        group = sorted(found, key=lambda component: component["bom-ref"])
        if not group:
            print(f"bill.py: there are no {kind}", file=sys.stderr)
            return 1
        components += group
    program = {
        "type": "application",
        "bom-ref": "mosaicell",
        "name": "mosaicell",
        "version": options.version,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": program},
        "components": components,
    }
    print(json.dumps(bill, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
