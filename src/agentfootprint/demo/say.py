"""The demo's words on the terminal."""

from __future__ import annotations

import textwrap

__all__ = ["say", "title"]

WIDTH = 110


def title(text: str) -> None:
    print(f"\n── {text}\n", flush=True)


def say(text: str, indent: str = "") -> None:
    """Prints text line by line; long lines go on below, further in."""
    for line in text.splitlines():
        inner = indent + line[: len(line) - len(line.lstrip())]
        print(
            textwrap.fill(
                line.strip(),
                WIDTH,
                initial_indent=inner,
                subsequent_indent=f"{inner}    ",
                break_long_words=False,
                break_on_hyphens=False,
            ),
            flush=True,
        )
