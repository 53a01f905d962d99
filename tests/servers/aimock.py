"""Every vendor's wire as others read the vendors' documentation: answers as told, one journal for all."""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from .databases import free_port, listens, wait_until
from .programs import program

__all__ = ["AIMock", "aimock"]


class AIMock:
    """The server of this test process. `reset` before each use: what it records is for one client."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def reset(self, *fixtures: dict[str, Any]) -> None:
        """Forgets all and answers like this: the first that matches; see "fixtures" in its documentation."""
        self._send("POST", "reset", {})
        self._send("DELETE", "chaos")
        if fixtures:
            self._send("POST", "fixtures", {"fixtures": fixtures})

    def chaos(self, **rates: float) -> None:
        """Breaks this share of the answers, from 0 to 1: `dropRate`, `malformedRate`, `disconnectRate`, …"""
        self._send("POST", "chaos", rates)

    def requests(self) -> list[dict[str, Any]]:
        """Every request, oldest first, in the shape of Chat Completions, whichever wire it came by."""
        found: list[dict[str, Any]] = self._send("GET", "journal")
        return found

    def _send(self, method: str, what: str, data: Any = None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(f"{self.url}/__aimock/{what}", body, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@functools.cache
def aimock() -> AIMock:
    port = free_port()
    folder = tempfile.TemporaryDirectory(prefix="agentfootprint-aimock-")
    first = {"match": {}, "response": {"content": "It does not start without an answer to give."}}
    (fixtures := Path(folder.name, "fixtures.json")).write_text(json.dumps({"fixtures": [first]}))
    script = Path(program("aimock")).resolve().with_name("cli.js")
    command = [program("node"), str(script), "--port", str(port), "--fixtures", str(fixtures)]
    quiet = subprocess.DEVNULL
    command += ["--log-level", "silent"]
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
    atexit.register(folder.cleanup)
    atexit.register(_end, server)
    wait_until(lambda: listens(port), "aimock")
    return AIMock(port)


def _end(server: subprocess.Popen[bytes]) -> None:
    """Ends the whole group: the program named node may be a script that starts the real one."""
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
