"""A headless Chromium that opens a local page, runs expressions in it, and tells what it complained about or asked for.

It is driven through its debugging pipe: messages in JSON, a zero byte after each, by file descriptors 3 and 4.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: seconds to wait for an answer before the browser counts as hung
PATIENCE_S = 120.0
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
#: puts two inherited descriptors where the browser looks for them, then becomes the browser
LAUNCHER = """
import os, sys
for given, wanted in zip(map(int, sys.argv[1:3]), (3, 4)):
    os.dup2(given, wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Page:
    """One open tab.

    Attributes
    ----------
    complaints:
        Text of every warning, error and uncaught exception of the console, in order.
    requests:
        Address of everything the page asked for, itself first, without its data addresses.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._commands = commands
        self._answers = answers
        self._received = b""
        self._number = 0
        self._session = ""
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        number = self._number
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer.get('error')}"
                return answer["result"]

    def open(self, path: Path) -> None:
        """Open a local file and wait until it is loaded."""
        self._loaded = False
        self.requests.clear()
        answer = self.call("Page.navigate", url=path.resolve().as_uri())
        assert "errorText" not in answer, answer
        while not self._loaded:
            self._receive()

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, as JSON can carry it."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def emulate(self, width_px: int, height_px: int, scheme: str = "light", media: str = "screen") -> None:
        """Give the page a size, a colour scheme ("light", "dark") and a medium ("screen", "print")."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width_px, height=height_px, deviceScaleFactor=1, mobile=False
        )
        self.call(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def _receive(self) -> dict[str, Any]:
        """Return the next message, having noted what it says about the page."""
        end_s = time.monotonic() + PATIENCE_S
        while b"\0" not in self._received:
            ready = select.select([self._answers], [], [], max(0.0, end_s - time.monotonic()))[0]
            data = os.read(self._answers, 1 << 20) if ready else b""
            if not data:
                raise RuntimeError("the browser ended" if ready else f"no answer from the browser in {PATIENCE_S:g} s")
            self._received += data
        line, self._received = self._received.split(b"\0", 1)
        message = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, details: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Log.entryAdded":
            self.complaints.append(details["entry"]["text"])
        elif event == "Runtime.consoleAPICalled":
            self.complaints.append(str([argument.get("value") for argument in details["args"]]))
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(details["exceptionDetails"]))
        elif event == "Network.requestWillBeSent" and not details["request"]["url"].startswith("data:"):
            self.requests.append(details["request"]["url"])


@contextmanager
def open_browser(profile: Path) -> Iterator[Page]:
    """Start the browser with an empty profile folder and give its page; end it with all its processes.

    Raises
    ------
    RuntimeError
        There is no Chromium on the PATH, or it does not answer.
    """
    if PROGRAM is None:
        raise RuntimeError("no chromium on the PATH")
    theirs_in, commands = os.pipe()
    answers, theirs_out = os.pipe()
    # numbers above those that the launcher writes to, so that the first copy does not replace the second pipe
    passed = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
    os.close(theirs_in)
    os.close(theirs_out)
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, *map(str, passed), PROGRAM, *OPTIONS, f"--user-data-dir={profile}"],
        pass_fds=passed,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    for end in passed:
        os.close(end)
    try:
        yield Page(commands, answers)
    finally:
        # the whole session, as the browser is several processes
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(commands)
        os.close(answers)
