"""A pseudo-terminal with the command on it, read until what is expected stands there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

SECONDS = 40.0

# Makes the pseudo-terminal the controlling one, so that Ctrl-C typed on it is a signal, and listens to
# that signal, which whoever started the tests may have switched off for all that comes below.
_LAUNCH = (
    "import fcntl, signal, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from agentfootprint.cli import main; main()"
)

_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[>=]")


class Terminal:
    """What a person sees and types.

    `text` is everything shown so far, without colours and cursor movements.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, env: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *arguments],
            cwd=folder,
            env=env,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._raw = b""
        self._seen = 0

    @property
    def text(self) -> str:
        return _CODES.sub("", self._raw.decode("utf-8", "replace")).replace("\r", "")

    def read_until(self, expected: str, seconds: float = SECONDS) -> str:
        """What was shown from the last expected text up to this one."""
        until = time.monotonic() + seconds
        while (found := self.text.find(expected, self._seen)) < 0:
            if not self._read(until - time.monotonic()):
                raise AssertionError(f"{expected!r} was not shown; there is: {self.text[self._seen :]!r}")
        start, self._seen = self._seen, found + len(expected)
        return self.text[start : self._seen]

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(seconds, 0))
        if not ready:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the other end is closed
            return False
        self._raw += data
        return bool(data)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def enter(self, text: str) -> None:
        self.type(f"{text}\n")

    def interrupt_prompt(self, expected: str) -> None:
        """Presses Ctrl-C at a prompt until it shows.

        Between showing a prompt and waiting for a key, Python's line editor does not notice it: only
        a machine is that quick, and does what a person would do, who presses it again.
        """
        for _ in range(3):
            self.type("\x03")
            try:
                self.read_until(expected, SECONDS / 3)
            except AssertionError:
                continue
            return
        raise AssertionError(f"{expected!r} was not shown; there is: {self.text[self._seen :]!r}")

    def exit_code(self) -> int:
        """Reads to the end and waits for the process."""
        until = time.monotonic() + SECONDS
        while self._read(until - time.monotonic()):
            pass
        return self.process.wait(SECONDS)

    @property
    def rest(self) -> str:
        """What was shown after the last expected text."""
        return self.text[self._seen :]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)
