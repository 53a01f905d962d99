"""Documents in a corpus: loaded, split, indexed, found by likeness, cited by file and offsets."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .document import Document as Document
    from .loading import Folder as Folder
    from .loading import load as load
    from .loading import load_folder as load_folder
    from .passages import Citation as Citation
    from .passages import Passage as Passage
    from .passages import citations as citations
    from .rag import RAG as RAG
    from .rag import Retrieved as Retrieved
    from .report import FileReport as FileReport
    from .report import IndexProgress as IndexProgress
    from .report import IndexReport as IndexReport
    from .splitting import Chunk as Chunk
    from .splitting import Splitter as Splitter
    from .splitting import split_text as split_text

# Name to module; an agent needs the passages of a record, and only who has documents the rest.
_LAZY = {
    "RAG": "rag",
    "Chunk": "splitting",
    "Citation": "passages",
    "Document": "document",
    "FileReport": "report",
    "Folder": "loading",
    "IndexProgress": "report",
    "IndexReport": "report",
    "Passage": "passages",
    "Retrieved": "rag",
    "Splitter": "splitting",
    "citations": "passages",
    "load": "loading",
    "load_folder": "loading",
    "split_text": "splitting",
}

__all__ = [
    "RAG",
    "Chunk",
    "Citation",
    "Document",
    "FileReport",
    "Folder",
    "IndexProgress",
    "IndexReport",
    "Passage",
    "Retrieved",
    "Splitter",
    "citations",
    "load",
    "load_folder",
    "split_text",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{module}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
