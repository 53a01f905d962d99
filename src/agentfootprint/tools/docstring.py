"""What a docstring says about a function and about each of its parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Documentation", "read_docstring"]

_GOOGLE = re.compile(r"(?:Args|Arguments|Params|Parameters|Keyword Args|Keyword Arguments)\s*:\s*$")
_GOOGLE_ENTRY = re.compile(r"\*{0,2}(\w+)\s*(?:\((?:[^()]|\([^()]*\))*\))?\s*:\s*(.*)$")
_NUMPY = re.compile(r"(?:Parameters|Other Parameters)\s*$")
_NUMPY_ENTRY = re.compile(r"(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$")
_SPHINX = re.compile(r":(?:param|parameter|arg|argument|key|keyword)\s+(?:[^:]*\s)?\*{0,2}(\w+)\s*:\s*(.*)$")
_SPHINX_TYPE = re.compile(r":type\s+\w+\s*:")


@dataclass(frozen=True, slots=True)
class Documentation:
    """`description` is the text without its parameter section; `parameters` maps names to texts."""

    description: str
    parameters: Mapping[str, str]


def read_docstring(text: str | None) -> Documentation:
    """Reads Google (`Args:`), Sphinx (`:param x:`) and NumPy style; other sections stay in the text."""
    if not text:
        return Documentation("", {})
    lines = inspect.cleandoc(text).splitlines()
    kept: list[str] = []
    found: dict[str, list[str]] = {}
    at = 0
    while at < len(lines):
        line = lines[at]
        following = lines[at + 1] if at + 1 < len(lines) else ""
        if _GOOGLE.match(line) and _indent(_next_text(lines, at + 1)):
            at = _google_section(lines, at + 1, found)
        elif _NUMPY.match(line) and _is_rule(following):
            at = _numpy_section(lines, at + 2, found)
        elif match := _SPHINX.match(line):
            at = _continued(lines, at + 1, found.setdefault(match[1], [match[2]]))
        elif _SPHINX_TYPE.match(line):
            at = _continued(lines, at + 1, [])
        else:
            kept.append(line)
            at += 1
    description = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    texts = {name: " ".join(" ".join(parts).split()) for name, parts in found.items()}
    return Documentation(description, {name: said for name, said in texts.items() if said})


def _google_section(lines: list[str], at: int, found: dict[str, list[str]]) -> int:
    entry_indent = _indent(_next_text(lines, at))
    entry: list[str] = []
    while at < len(lines) and (not lines[at].strip() or _indent(lines[at])):
        line = lines[at]
        match = _GOOGLE_ENTRY.match(line.strip()) if _indent(line) <= entry_indent else None
        if match:
            entry = found.setdefault(match[1], [])
            entry.append(match[2])
        else:
            entry.append(line)
        at += 1
    return at


def _numpy_section(lines: list[str], at: int, found: dict[str, list[str]]) -> int:
    entries: list[list[str]] = []
    while at < len(lines):
        line = lines[at]
        if at + 1 < len(lines) and line.strip() and _is_rule(lines[at + 1]):
            break
        match = _NUMPY_ENTRY.match(line) if line and not _indent(line) else None
        if match:
            names = [name.strip(" *") for name in match[1].split(",")]
            entries = [found.setdefault(name, []) for name in names]
        elif line.strip() and not _indent(line):
            break
        else:
            for entry in entries:
                entry.append(line)
        at += 1
    return at


def _continued(lines: list[str], at: int, entry: list[str]) -> int:
    while at < len(lines) and lines[at].strip() and _indent(lines[at]):
        entry.append(lines[at])
        at += 1
    return at


def _next_text(lines: list[str], at: int) -> str:
    return next((line for line in lines[at:] if line.strip()), "")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _is_rule(line: str) -> bool:
    return len(line.strip()) >= 3 and set(line.strip()) == {"-"}
