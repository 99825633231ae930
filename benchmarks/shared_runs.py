"""Commands of documents, made ready for this machine, and each run once however many entries need it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.entries import ROOT

#: in the place of what follows a run's name
OPTIONS = "OPTIONS"
DATA = "DATA"
#: folders that commands fill: those of one run, and those that serve all
OWN_FOLDERS, SHARED_FOLDERS = ("MASKS", "TIMES"), ("IMAGES",)
#: seconds in which a second interruption stops everything
AGAIN_S = 2.0
INTERRUPTED = "interrupted"
#: what Python prints of an error that nobody expected
ERROR = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Outcome:
    """What a command came to.

    Attributes
    ----------
    printed : str
        Standard output, then standard error.
    problem : str
        Why its figures do not count; empty where they do.
    """

    printed: str
    problem: str = ""


def expand_run(name: str, runs: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the commands of a run as a document shows them, with the options that follow its name.

    Raises
    ------
    KeyError
        When there is no such run.
    """
    run, _, options = name.partition(" ")
    return [" ".join(command.replace(OPTIONS, options).split()) for command in runs[run]]


def needs_data(name: str, runs: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether a run needs labelled images."""
    return any(re.search(rf"\b{DATA}\b", command) for command in expand_run(name, runs))


@dataclass
class SharedRuns:
    """Runs commands, and remembers what they came to.

    Attributes
    ----------
    runs : dict
        Commands by the name of the run, with `OPTIONS`, `DATA` and names of folders in them.
    folder : Path
        Existing folder for logs/, shared folders, and one folder for each run.
    data : Path or None
        Folder of labelled images.
    """

    runs: Mapping[str, Sequence[str]]
    folder: Path
    data: Path | None
    done: dict[tuple[str, ...], Outcome] = field(default_factory=dict)

    def run(self, name: str) -> Outcome:
        """Run the commands of a run that were not run yet, up to the first with a problem.

        Parameters
        ----------
        name : str
            Of the run, and its options.

        Returns
        -------
        Outcome
            What all commands printed, and the problem of the last one.

        Raises
        ------
        KeyboardInterrupt
            When it is interrupted twice within `AGAIN_S`.
        """
        printed = []
        for shown in expand_run(name, self.runs):
            words = self._make_ready(shown, self.folder / slug(name))
            if words not in self.done:
                self.done[words] = self._run_command(words, shown)
            outcome = self.done[words]
            printed.append(outcome.printed)
            if outcome.problem:
                return Outcome("\n".join(printed), f"{outcome.problem}: {shown}")
        return Outcome("\n".join(printed))

    def _make_ready(self, shown: str, own: Path) -> tuple[str, ...]:
        """Put this interpreter and folders into a command."""
        folders = {**dict.fromkeys(OWN_FOLDERS, own), **dict.fromkeys(SHARED_FOLDERS, self.folder)}
        words = []
        for word in shlex.split(shown):
            first, separator, rest = word.partition("/")
            if word == "python" or word.startswith("python "):
                word = sys.executable if word == "python" else shlex.quote(sys.executable) + word[len("python") :]
            elif first == DATA and self.data:
                word = f"{self.data.resolve()}{separator}{rest}"
            elif word in folders:
                word = str(folders[word].resolve() / word)
            words.append(word)
        return tuple(words)

    def _run_command(self, words: tuple[str, ...], shown: str) -> Outcome:
        print(f"{shown} ...", file=sys.stderr, flush=True)
        logs = [self._log(f"{len(self.done) + 1:02d}-{slug(shown)[:60]}.{suffix}") for suffix in ("out", "err")]
        with logs[0].open("wb") as output, logs[1].open("wb") as errors:
            try:
                with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=errors) as run:
                    code = _wait(run)
            except OSError as error:
                return Outcome("", f"cannot be started ({error.strerror})")
        printed = "\n".join(log.read_text(encoding="utf-8", errors="replace") for log in logs)
        if code is None:
            return Outcome(printed, INTERRUPTED)
        # 1 without an error says that a target is missed or an image has no mask: what was measured counts all the same
        failed = code not in (0, 1) or (code == 1 and ERROR in printed)
        return Outcome(printed, f"exit code {code}" if failed else "")

    def _log(self, name: str) -> Path:
        path = self.folder / "logs" / name
        path.parent.mkdir(exist_ok=True)
        return path


def slug(text: str) -> str:
    """Return a text as the name of a file."""
    return re.sub(r"[^\w.]+", "-", text).strip("-")


def _wait(run: subprocess.Popen[bytes]) -> int | None:
    """Return the exit code, None when it was interrupted; a second interruption right after goes on up."""
    try:
        return run.wait()
    except KeyboardInterrupt:
        run.terminate()
        run.wait()
        print(f"interrupted; again within {AGAIN_S:g} s stops everything", file=sys.stderr, flush=True)
        time.sleep(AGAIN_S)
        return None
