"""A model's server that fails as told, keeps a record of every attempt, and judges the client by it."""

from __future__ import annotations

import atexit
import functools
import json
import subprocess
import urllib.request
from typing import Any

from .databases import free_port, listens, wait_until
from .programs import program

__all__ = ["Judge", "judge"]


class Judge:
    """A server of this test process. `reset` before each use: what it records is for one client."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def reset(self, *behaviors: dict[str, Any]) -> None:
        """Forgets all, and does this next: see "scenario" in the server's own documentation."""
        self._post("reset", {})
        if behaviors:
            self._post("scenario", {"behaviors": behaviors})

    def requests(self) -> list[dict[str, Any]]:
        """Every attempt, oldest first."""
        with urllib.request.urlopen(f"{self.url}/_llmock/requests", timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["requests"]
        return found

    def findings(self) -> list[dict[str, Any]]:
        """The errors and warnings of the server's verdict; with any, `llmock report --strict` fails."""
        with urllib.request.urlopen(f"{self.url}/_llmock/verdict", timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["findings"]
        return found

    def report(self) -> subprocess.CompletedProcess[str]:
        """What `llmock report --strict` says: exit code 1 for any error or warning. It takes a second."""
        command = [program("llmock"), "report", "--strict", "--url", self.url]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def _post(self, what: str, data: Any) -> None:
        request = urllib.request.Request(
            f"{self.url}/_llmock/{what}", json.dumps(data).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=30):
            pass


@functools.cache
def judge(name: str) -> Judge:
    """The server of that name; it starts with its first use."""
    port = free_port()
    command = [program("llmock"), "serve", "--port", str(port), "--log-level", "error"]
    # At a model's pace, or the server has sent all before anybody could leave, and takes that for patience.
    command += ["--response-style", "varied", "--stream-chunk-delay-ms", "15"]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    atexit.register(server.kill)
    wait_until(lambda: listens(port), "llmock")
    return Judge(port)
