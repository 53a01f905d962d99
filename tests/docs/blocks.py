"""Runs the Python blocks of a Markdown file, in order and in one namespace, as a reader would."""

from __future__ import annotations

import ast
import asyncio
import re
import sys
import textwrap
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

import pytest

_FENCE = re.compile(r"^\s*(?P<ticks>`{3,}|~{3,})\s*(?P<language>\w*)")
_NOT_RUN = re.compile(r"^\s*<!--\s*not run:\s*\S.*-->\s*$")


@dataclass(frozen=True, slots=True)
class Block:
    """A Python block. `line` is the file's line of the opening fence, from 1."""

    path: Path
    line: int
    source: str
    run: bool = True

    def compile(self) -> CodeType:
        """The block's code, its line numbers those of the file. Raises `SyntaxError`."""
        # Top-level await is allowed: documentation shows calls, not the function around them.
        padded = "\n" * self.line + self.source
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code: CodeType = compile(padded, str(self.path), "exec", flags=flags, dont_inherit=True)
        return code


def blocks(path: Path) -> list[Block]:
    """The Python blocks of a Markdown file. Raises `ValueError` if a block is not closed."""
    return list(_blocks(path))


def _blocks(path: Path) -> Iterator[Block]:
    run = True
    lines = iter(enumerate(path.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        fence = _FENCE.match(line)
        if fence is None:
            # The mark holds for the next block, across empty lines only.
            if line.strip():
                run = not _NOT_RUN.match(line)
            continue
        body = []
        for _, inner in lines:
            if inner.strip().startswith(fence["ticks"]) and not inner.strip(" `~"):
                break
            body.append(inner)
        else:
            raise ValueError(f"{path.name}:{number}: this block is never closed")
        if fence["language"] in {"python", "py"}:
            yield Block(path, number, textwrap.dedent("\n".join(body)) + "\n", run)
        run = True


def run_file(path: Path) -> None:
    """Runs a file's blocks, or compiles those marked as not run. Fails the test at the first that breaks."""
    # Blocks are scripts: what they define is found where a script's definitions are, in `__main__`.
    main = ModuleType("__main__")
    saved = sys.modules["__main__"]
    sys.modules["__main__"] = main
    try:
        # One event loop for all blocks, so that what one opens another can use.
        with asyncio.Runner() as runner:
            for block in blocks(path):
                try:
                    _run(block, main, runner)
                except Exception as error:
                    pytest.fail(_explain(block, error), pytrace=False)
    finally:
        sys.modules["__main__"] = saved


def _run(block: Block, main: ModuleType, runner: asyncio.Runner) -> None:
    code = block.compile()
    if not block.run:
        return
    pending = eval(code, main.__dict__)  # noqa: S307 - our own documentation
    if pending is not None:
        runner.run(pending)


def _explain(block: Block, error: Exception) -> str:
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(block.path)
    ]
    line = frames[-1].lineno if frames else getattr(error, "lineno", None)
    shown = "".join(traceback.format_exception(error))
    return f"{block.path.name}:{line or block.line}: this block does not run as written\n\n{shown}"
