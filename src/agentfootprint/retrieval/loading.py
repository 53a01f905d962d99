"""Documents from files: which files of a folder, and their bytes as text."""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..errors import ConfigurationError, DocumentUnreadable, InputInvalid
from ..flow.codec import has_utf8
from .document import KINDS, Document, Kind, printable

__all__ = ["MAX_BYTES", "File", "Folder", "PathLike", "Unknown", "file_of", "load", "load_folder"]

PathLike: TypeAlias = str | os.PathLike[str]
Unknown = Literal["skip", "refuse"]

MAX_BYTES = 64 * 2**20
"""A larger file is refused: it is hardly a document, and is held in memory as a whole."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(
    rb"""<meta\b[^>]*?\bcharset\s*=\s*["']?\s*([A-Za-z0-9._:-]+)|<\?xml\b[^>]*?\bencoding\s*=\s*["']([A-Za-z0-9._:-]+)""",
    re.IGNORECASE,
)
_DECLARED_WITHIN = 1024
"""Bytes: where the HTML standard looks for a declaration."""
_AS_BROWSERS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "utf-16": "utf-8",
    "utf-16-le": "utf-8",
    "utf-16-be": "utf-8",
}
_NOT_OF_FILES = frozenset(
    {"idna", "punycode", "raw-unicode-escape", "unicode-escape", "utf-7", "undefined", "mbcs", "oem"}
)


def load(
    path: PathLike,
    *,
    source: str | None = None,
    kind: Kind | None = None,
    encoding: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Document:
    """One file as a document: text, Markdown or HTML.

    Its text has the file's own line ends: read the file with `newline=""` to find the offsets of citations.

    Args:
        source: what citations call it; the path as it is given, with `/`, unless said.
        kind: what it is; by its suffix unless given.
        encoding: of the file, if it has no byte order mark; default: what an HTML file declares, else UTF-8.

    Raises:
        DocumentUnreadable: it is not there, no file, too large, of no known suffix, binary, or not in its
            encoding; the message names the file, and the byte where there is one.
    """
    given = Path(path)
    name = given.as_posix() if source is None else source
    return File(given, name, _kind(given, kind, {}), encoding, metadata or {}).load()


@dataclass(frozen=True, slots=True)
class File:
    """A file that can be loaded. `within` is the folder that it must not lead out of."""

    path: Path
    source: str
    kind: Kind | None
    encoding: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    folder: str | None = None
    within: Path | None = None

    def load(self) -> Document:
        """Raises `DocumentUnreadable`: it cannot be a document."""
        if self.kind is None:
            raise self._refused(
                f"what a file of suffix {self.path.suffix!r} holds is not known: load it with kind='text', "
                f"'markdown' or 'html'; known are {', '.join(KINDS)}"
            )
        data = self._bytes()
        try:
            text = self._text(data)
            return Document(self.source, text, self.kind, self.metadata, self.folder)
        except InputInvalid as error:
            raise DocumentUnreadable(str(error), source=self.source) from None

    def _bytes(self) -> bytes:
        try:
            if self.within is not None and not self.path.resolve().is_relative_to(self.within):
                raise self._refused("it leads out of its folder")
            # Not blocking: a pipe that takes the name of a file waits for nobody.
            with open(os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
                whole = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
                data = file.read(MAX_BYTES + 1) if whole else b""
        except OSError as error:
            raise self._refused(f"it cannot be read ({error.strerror})") from None
        except RuntimeError:
            raise self._refused("it cannot be read (links that lead in a circle)") from None
        if not whole:
            raise self._refused("it is no file")
        if len(data) > MAX_BYTES:
            raise self._refused(f"it has more than {MAX_BYTES // 2**20} MiB: split it into several files")
        return data

    def _text(self, data: bytes) -> str:
        skip, encoding = self._encoding(data)
        try:
            text = data[skip:].decode(encoding)
        except UnicodeDecodeError as error:
            at = error.start + skip
            raise self._refused(
                f"byte {at} (0x{data[at]:02x}) is not in its encoding, {encoding}: it is binary, or say "
                "encoding=",
                at,
            ) from None
        if "\x00" in text:
            at = len(text[: text.index("\x00")].encode(encoding, "replace")) + skip
            raise self._refused(
                f"byte {at} is a NUL: it is binary, or in another encoding than {encoding}", at
            )
        return text

    def _encoding(self, data: bytes) -> tuple[int, str]:
        """How many bytes of a mark to skip, and the encoding."""
        for mark, encoding in _MARKS:
            if data.startswith(mark):
                return len(mark), encoding
        if self.encoding is not None:
            return 0, _codec(self.encoding) or self._unknown(self.encoding)
        if self.kind == "html" and (found := _DECLARED.search(data[:_DECLARED_WITHIN])) is not None:
            label = (found.group(1) or found.group(2)).decode("ascii")
            encoding = _codec(label) or self._unknown(label)
            return 0, _AS_BROWSERS.get(encoding, encoding)
        return 0, "utf-8"

    def _unknown(self, label: str) -> str:
        raise self._refused(f"its encoding {label!r} is not known: say encoding=")

    def _refused(self, why: str, byte: int | None = None) -> DocumentUnreadable:
        return DocumentUnreadable(f"{printable(self.source)}: {why}", source=self.source, byte=byte)


def file_of(path: Path) -> File:
    """A file that was named, to be loaded later."""
    return File(path, path.as_posix(), _kind(path, None, {}))


def _codec(label: str) -> str | None:
    """The name of a codec for text in files; None if there is none of this name."""
    try:
        found = codecs.lookup(label)
    except (LookupError, ValueError):
        return None
    name = found.name.replace("_", "-")
    return name if getattr(found, "_is_text_encoding", True) and name not in _NOT_OF_FILES else None


def _kind(path: Path, kind: Kind | None, kinds: Mapping[str, Kind]) -> Kind | None:
    suffix = path.suffix.lower()
    return kind or kinds.get(suffix) or KINDS.get(suffix)


@dataclass(frozen=True, slots=True)
class Folder:
    """The documents of a folder, made by `load_folder`. Each is loaded as the iteration comes to it."""

    path: Path
    name: str
    _: KW_ONLY
    prefix: str = ""
    unknown: Unknown = "skip"
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    encoding: str | None = None

    def __iter__(self) -> Iterator[Document]:
        files, _ = self.files()
        return (file.load() for file in files)

    def files(self) -> tuple[list[File], list[str]]:
        """Its files by name, and the names of those that are left out: of unknown suffixes, or symbolic links
        that lead elsewhere.

        Raises:
            DocumentUnreadable: the folder cannot be read.
            InputInvalid: a file's suffix is not known, and `unknown="refuse"`.
        """
        root = self._root()
        files, strange, skipped = list[File](), list[str](), list[str]()
        for place, folders, names in os.walk(root, onerror=_raise):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(name for name in names if not name.startswith(".")):
                path = Path(place, name)
                source = self.prefix + path.relative_to(root).as_posix()
                kind = _kind(path, None, self.kinds)
                if kind is None or not has_utf8(source):
                    strange.append(source.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
                elif path.is_symlink() and not path.resolve().is_relative_to(root):
                    skipped.append(source)
                else:
                    files.append(File(path, source, kind, self.encoding, {}, self.name, root))
        if strange and self.unknown == "refuse":
            named = ", ".join(map(repr, strange[:10]))
            raise InputInvalid(
                f"{self.name}: what these {len(strange)} files hold is not known: {named}. Say "
                "kinds={'.suffix': 'text'}, take them away, or pass unknown='skip'"
            )
        return files, sorted(skipped + strange)

    def _root(self) -> Path:
        try:
            root = self.path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise DocumentUnreadable(
                f"{self.path.as_posix()}: the folder cannot be read ({type(error).__name__})",
                source=self.path.as_posix(),
            ) from None
        if not root.is_dir():
            raise DocumentUnreadable(f"{self.path.as_posix()}: it is no folder", source=self.path.as_posix())
        return root


def load_folder(
    path: PathLike,
    *,
    prefix: str = "",
    unknown: Unknown = "skip",
    kinds: Mapping[str, Kind] | None = None,
    encoding: str | None = None,
) -> Folder:
    """The text, Markdown and HTML files below a folder, sorted by name; nothing is read yet.

    Citations call them by their paths within the folder, with `/`. Names that begin with a dot are passed
    over, symbolic links out of the folder and to folders are not followed.

    Args:
        prefix: put before each name, such as `"guide/"`, where several folders share a corpus.
        unknown: files of other suffixes are left out and named in the report ("skip"), or nothing is
            indexed ("refuse").
        kinds: more suffixes, such as `{".rst": "text"}`.
        encoding: of files without a byte order mark; see `load`.

    Raises:
        ConfigurationError: an option is none.
    """
    if unknown not in ("skip", "refuse"):
        raise ConfigurationError(f"unknown must be 'skip' or 'refuse', not {unknown!r}")
    given = Path(path)
    # Not the whole path: the same folder stands elsewhere on another machine.
    name = prefix or given.name or given.resolve().name
    return Folder(given, name, prefix=prefix, unknown=unknown, kinds=kinds or {}, encoding=encoding)


def _raise(error: OSError) -> None:
    where = error.filename if isinstance(error.filename, str) else "a folder"
    raise DocumentUnreadable(
        f"{where}: the folder cannot be read ({error.strerror})", source=str(where)
    ) from None
