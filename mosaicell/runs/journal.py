"""The record of a run: a line of JSON for each image as soon as it is done, and run.json, which has all of them.

Each run writes lines into a file of its own, locked while it lives. Whoever writes run.json puts in what is there
already, and the lines of all runs; the files of those that have ended go. So parts of a folder, runs that share one and
a run that goes on after a stop give one run.json with the figures of every image.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mosaicell.runs.claims import claim
from mosaicell.writing.parts import remove_unless_held, write_whole

log = logging.getLogger(__name__)

REPORT = "run.json"
#: names of the files of lines
JOURNAL_NAME = re.compile(r"run-[0-9a-f]{16}\.jsonl")
#: entry of run.json by image
Records = dict[str, dict[str, Any]]


class Journal:
    """What is known of the images of an output folder.

    Parameters
    ----------
    folder
        Of the output.

    Attributes
    ----------
    known
        What earlier runs say of each image.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / f"run-{os.urandom(8).hex()}.jsonl"
        self._descriptor = -1
        self._own: Records = {}
        self.known = newest([*_read_report(folder / REPORT)[1], *_read_journals(folder)])

    def add(self, record: dict[str, Any]) -> None:
        """Keep the record of an image; a line of JSON says so at once, unless the image was skipped."""
        record = record if "finished" in record or "skipped" in record else {**record, "finished": _now()}
        self._own[record["image"]] = record
        if "skipped" in record:
            return
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                with contextlib.suppress(OSError):
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(self._descriptor, (json.dumps(record) + "\n").encode())
        except OSError as error:
            log.debug("%s: cannot be written: %s", self._path.name, error.strerror)

    def write_report(self, header: Mapping[str, Any], listed: Collection[str], *, wait: bool = True) -> None:
        """Write run.json: the header, and what all runs say of the images.

        Parameters
        ----------
        header
            What run.json says beside the images.
        listed
            Names of the images of the input: of others, earlier records count as long as their masks are there.
        wait
            Wait while another run writes; otherwise nothing is written then.

        Raises
        ------
        OSError
            When it cannot be written; the lines stay.
        """
        with claim(self._folder / REPORT, wait=wait) as held:
            if not held:
                return
            earlier, records = _read_report(self._folder / REPORT)
            known = newest([*records, *_read_journals(self._folder)])
            kept = [record for record in known.values() if _is_current(record, self._folder, listed)]
            images = newest([*kept, *self._own.values()])
            weights = {**(_as_dict(earlier.get("weights_sha256")) if kept else {}), **header["weights_sha256"]}
            report = {**header, "weights_sha256": weights, "images": [images[name] for name in sorted(images)]}
            with write_whole(self._folder / REPORT) as part:
                part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            self._remove_journals()

    def close(self) -> None:
        """Let go of the file of lines, which a later run will merge if this one did not."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _remove_journals(self) -> None:
        self.close()
        self._path.unlink(missing_ok=True)
        for path in _list_journals(self._folder):
            with contextlib.suppress(OSError):
                remove_unless_held(path)


def newest(records: list[dict[str, Any]]) -> Records:
    """Return the last record of each image; one without figures counts only where there is no other."""

    def rank(record: Mapping[str, Any]) -> tuple[bool, str]:
        return "error" in record or "cells" in record, str(record.get("finished", ""))

    chosen = Records()
    for record in records:
        name = record["image"]
        if name not in chosen or rank(record) >= rank(chosen[name]):
            chosen[name] = record
    return chosen


def _is_current(record: Mapping[str, Any], folder: Path, listed: Collection[str]) -> bool:
    """Say whether an earlier record is still of use: its mask is there, or it says why there is none."""
    mask = record.get("mask")
    return (folder / mask).exists() if isinstance(mask, str) else record["image"] in listed


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _read_report(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read run.json: all of it, and its records; what is damaged is as nothing."""
    try:
        report = _as_dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}, []
    images = report.get("images")
    return report, [record for record in images if _is_record(record)] if isinstance(images, list) else []


def _read_journals(folder: Path) -> Iterator[dict[str, Any]]:
    for path in _list_journals(folder):
        with contextlib.suppress(OSError):
            for line in path.read_bytes().splitlines():
                # the last line of a run that was killed may be cut
                with contextlib.suppress(ValueError, RecursionError):
                    record = json.loads(line)
                    if _is_record(record):
                        yield record


def _list_journals(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found = [
            entry for entry in entries if JOURNAL_NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
        ]
        return sorted(folder / entry.name for entry in found)
    return []


def _is_record(record: object) -> bool:
    return isinstance(record, dict) and isinstance(record.get("image"), str)


def _as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
